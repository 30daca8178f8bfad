"""Samples from any OpenAI-compatible server, into the same files as those of a model that runs here."""

from t2fast.sampling.endpoint.endpoint import Endpoint
from t2fast.sampling.endpoint.http import EndpointError

__all__ = ["Endpoint", "EndpointError"]
