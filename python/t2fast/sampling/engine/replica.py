"""A model's double: the same weights, but modes and attention of its own, so that the model itself is never changed.

Samplers run doubles, each call its own. So samplers in several threads, a training step beside them and whoever looks
at the model meanwhile do not see each other.
"""

from __future__ import annotations

import copy
import functools
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import nn

from t2fast.errors import T2Error

__all__ = ["replica", "unwrapped"]


def unwrapped(model: Any) -> Any:
    """The transformers model inside wrappers that compute the same: DistributedDataParallel, torch.compile.

    Raises
    ------
    T2Error
        When it is no model of transformers, or its weights are spread over processes or devices.
    """
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        else:
            break
    name = type(model).__name__
    if not isinstance(model, nn.Module):
        raise T2Error(f"model = {name}: must be a model of transformers")
    spread = name in ("FullyShardedDataParallel", "DeepSpeedEngine") or any(
        type(p).__name__ == "DTensor" or hasattr(p, "ds_id") for p in model.parameters()
    )
    if spread:
        raise T2Error(
            f"{name}: its weights are spread over processes (FSDP, ZeRO, tensor parallel); gather them into a model on "
            "one device first"
        )
    if not hasattr(getattr(model, "config", None), "get_text_config"):
        inner = [key for key, one in model.named_children() if hasattr(one, "config")]
        hint = f"; if {name} wraps one, give its .{inner[0]}" if inner else ""
        raise T2Error(f"{name} is not a model of transformers: it has no configuration{hint}")
    return model


def replica(model: nn.Module, attention: str | None) -> Any:
    """Double a model: parameters, buffers and hooks are shared, modules and configurations are copies.

    Parameters
    ----------
    model
        Any; it is not changed.
    attention
        The attention implementation that the double's configurations name; None leaves theirs.

    Raises
    ------
    T2Error
        When the ``forward`` of a module was replaced by something tied to the original.
    """
    doubles: dict[int, nn.Module] = {}
    configs: dict[int, Any] = {}

    def config_of(config: Any) -> Any:
        if id(config) not in configs:
            copied = copy.deepcopy(config, configs)
            if attention is not None:
                for one in _nested(copied):
                    one._attn_implementation_internal = attention
        return configs[id(config)]

    def double(module: nn.Module) -> nn.Module:
        if (done := doubles.get(id(module))) is not None:
            return done
        made = doubles[id(module)] = module.__class__.__new__(module.__class__)
        state = dict(module.__dict__)
        state["_parameters"] = dict(module._parameters)
        state["_buffers"] = dict(module._buffers)
        state["_modules"] = {name: child and double(child) for name, child in module._modules.items()}
        state["training"] = False
        state["_compiled_call_impl"] = None
        for name, value in module.__dict__.items():
            if hasattr(value, "_attn_implementation_internal"):
                state[name] = config_of(value)
            elif (isinstance(value, MethodType) and value.__self__ is module) or (
                isinstance(value, functools.partial) and any(one is module for one in value.args)
            ):
                state[name] = _rebound(value, module, made)
        made.__dict__ = state
        forward = state.get("forward")
        if forward is not None and not isinstance(forward, MethodType | functools.partial):
            raise T2Error(
                f"the forward method of {type(module).__name__} was replaced by a function of its own: "
                "give the model without that patch"
            )
        return made

    return double(model)


def _rebound(value: Any, old: nn.Module, new: nn.Module, within: frozenset[int] = frozenset()) -> Any:
    """What calls the new module wherever ``value`` called the old one; the same object where it never did.

    Who replaces a ``forward`` often calls the one before, held by a closure or a decorator: trainers do so to fuse the
    loss into it, accelerate to compute it in another type.
    """
    if value is old:
        return new
    if id(value) in within:  # a function that calls itself
        return value
    within |= {id(value)}
    if isinstance(value, MethodType):
        return MethodType(_rebound(value.__func__, old, new, within), new) if value.__self__ is old else value
    if isinstance(value, functools.partial):
        arguments = [_rebound(one, old, new, within) for one in value.args]
        made: Any = functools.partial(_rebound(value.func, old, new, within), *arguments, **value.keywords)
        return functools.update_wrapper(made, value)
    if isinstance(value, FunctionType):
        try:
            held = [cell.cell_contents for cell in value.__closure__ or ()]
        except ValueError:  # a name that has no value yet
            return value
        found = [_rebound(one, old, new, within) for one in held]
        if all(one is other for one, other in zip(found, held, strict=True)):
            return value
        cells = tuple(map(CellType, found))
        made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, cells)
        made.__kwdefaults__ = value.__kwdefaults__
        return functools.update_wrapper(made, value)
    if callable(value) and "__wrapped__" in getattr(value, "__dict__", ()) and not isinstance(value, nn.Module | type):
        state = {key: _rebound(one, old, new, within) for key, one in value.__dict__.items()}
        if any(state[key] is not one for key, one in value.__dict__.items()):
            made = object.__new__(type(value))
            made.__dict__ = state
            return made
    return value


def _nested(config: Any) -> list[Any]:
    """A configuration and those inside it."""
    found = [config]
    for value in vars(config).values():
        if hasattr(value, "_attn_implementation_internal"):
            found += _nested(value)
    return found
