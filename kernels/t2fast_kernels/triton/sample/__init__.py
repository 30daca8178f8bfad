"""Exact sampling without a sort.

The token drawn is the one whose clock rings first: token t waits an exponential time E_t / exp(x_t), E_t being a
function of the row's key and t alone (the Gumbel-max trick, its logarithm taken once per chunk). Filtered sampling
draws from the kept tokens with the same clocks. What is kept is always everything from some logit on, so:

* ``scan`` reads each row once: maximum, sum and winner of every chunk, and the maximum of every 32 tokens.
* ``verify`` measures the probability and the number of tokens above a winner, which say whether the filters keep it.
  Only if they reject the scan's does it also run the race again, among the tokens above the rejected one. A rejected
  winner's whole level is dropped, never a kept token, so the first accepted one is the winner among the kept.
* ``finish`` goes on by itself where the launches of ``verify`` did not suffice.

Maxima of 32 tokens let the later passes read only what can lie above the winner. Chunks have a fixed size and are
merged in a fixed order: a row's result depends neither on its place in the batch nor on the batch's size.
"""

from t2fast_kernels.triton.sample.scan import scan_kernel
from t2fast_kernels.triton.sample.share import share_kernel
from t2fast_kernels.triton.sample.top import top_kernel
from t2fast_kernels.triton.sample.verify import finish_kernel, verify_kernel

__all__ = ["finish_kernel", "scan_kernel", "share_kernel", "top_kernel", "verify_kernel"]
