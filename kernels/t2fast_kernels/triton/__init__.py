"""Nothing but kernels: each file serves the operator of the same name one folder up."""
