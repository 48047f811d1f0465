"""The network alone: forward, differentiable, as the paper describes it."""
