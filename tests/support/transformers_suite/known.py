"""What fails here and why: each is transformers' own inside, or this workplace. Everything else is a fault to mend."""

from __future__ import annotations

KNOWN = {
    "test_gradient_checkpointing_enable_disable":
        "looks for transformers' class GradientCheckpointingLayer inside the net; checkpointing itself is in "
        "test_enable_input_require_grads_with_gradient_checkpointing, which passes",
    "test_config_attn_implementation_setter":
        "sets and reads transformers' private _attn_implementation; there is one attention here, which equals theirs",
    "test_cannot_load_with_meta_device_context_manager":
        "wants transformers' wording; the RuntimeError is raised, in other words",
    "test_model_weights_reload_no_missing_tied_weights":
        "loads a file that holds none of the net's weights and wants a net of random ones; such a file is refused here",
    "test_backends_equivalence": "downloads a photograph",
}


def explanation(name: str) -> str | None:
    """Why a test is known to fail, by its full name."""
    return KNOWN.get(name.split("::")[-1])
