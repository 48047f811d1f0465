"""ComfyUI's memory management, for one CPU."""

import torch

OOM_EXCEPTION = torch.cuda.OutOfMemoryError
loaded = []
_interrupted = False


class InterruptProcessingException(Exception):
    pass


def interrupt_current_processing(value=True):
    global _interrupted
    _interrupted = value


def throw_exception_if_processing_interrupted():
    if _interrupted:
        interrupt_current_processing(False)
        raise InterruptProcessingException


def get_torch_device():
    return torch.device("cpu")


def unet_offload_device():
    return torch.device("cpu")


def intermediate_device():
    return torch.device("cpu")


def should_use_fp16(device=None, model_params=0, prioritize_performance=True, manual_cast=False):
    return False


def load_models_gpu(models, memory_required=0, force_patch_weights=False, minimum_memory_required=None,
                    force_full_load=False):
    loaded.append((models, memory_required))
    for model in models:
        model.model.device = model.load_device


def get_free_memory(dev=None, torch_free_too=False):
    return 8 * 2**30


def soft_empty_cache(force=False):
    pass
