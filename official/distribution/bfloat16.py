"""Whether this machine has instructions for bfloat16, which halve what a step moves."""

from pathlib import Path

import keras

from official.private_keras import ON_TENSORFLOW, tf

if keras.backend.backend() == "jax":
    import jax

_CPU = Path("/proc/cpuinfo")
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}
_AMPERE = (8, 0)


def device_with_bfloat16() -> str | None:
    """Says which device, "GPU" or "CPU", computes in bfloat16 where networks train.

    None: it would emulate it, or nothing is known. Of a CPU only TensorFlow is known to
    use the instructions, and only Linux says whether it has them.
    """
    if gpus := _compute_capabilities():
        return "GPU" if min(gpus) >= _AMPERE else None
    words = set(_CPU.read_text().split()) if _CPU.exists() else set()
    return "CPU" if ON_TENSORFLOW and words & _INSTRUCTIONS else None


def _compute_capabilities() -> list[tuple[int, ...]]:
    """Of all NVIDIA GPUs that the backend sees."""
    if ON_TENSORFLOW:
        gpus = tf.config.list_physical_devices("GPU")
        details = map(tf.config.experimental.get_device_details, gpus)
        return [gpu.get("compute_capability", (0, 0)) for gpu in details]
    if keras.backend.backend() != "jax":
        return []
    found = [device for device in jax.devices() if device.platform == "gpu"]
    return [tuple(map(int, gpu.compute_capability.split("."))) for gpu in found]
