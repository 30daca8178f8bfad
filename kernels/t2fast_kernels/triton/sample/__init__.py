"""Exact sampling without a sort.

The token drawn is the one whose clock rings first: token t waits an exponential time E_t / exp(x_t), E_t being a
function of the row's key and t alone (the Gumbel-max trick, its logarithm taken once per chunk). Filtered sampling
draws from the kept tokens with the same clocks. What is kept is always everything from some logit on, so:

* ``scan`` reads each row once, and keeps maximum and sum of every 32 tokens.
* ``draw`` runs the race of a row's groups, then that of the first group's tokens. Without filters that is all. With
  them it goes on where few groups reach above the winner: they are read again to see whether the filters keep it, and
  for the next candidate if not.
* ``verify`` does the same in chunks, for the rows where many do: it measures the probability and the number of tokens
  above a candidate. Only if the filters reject the first does it also run the race again, among the tokens above it.
* ``finish`` goes on by itself where the launches of ``verify`` did not suffice.

A rejected winner's whole level is dropped, never a kept token, so the first accepted one is the winner among the kept.
Groups and chunks have a fixed size and are merged in a fixed order: a row's result depends neither on its place in the
batch nor on the batch's size.
"""

from t2fast_kernels.triton.sample.draw import draw_kernel
from t2fast_kernels.triton.sample.scan import scan_kernel
from t2fast_kernels.triton.sample.share import share_kernel
from t2fast_kernels.triton.sample.top import top_kernel
from t2fast_kernels.triton.sample.verify import finish_kernel, verify_kernel

__all__ = ["draw_kernel", "finish_kernel", "scan_kernel", "share_kernel", "top_kernel", "verify_kernel"]
