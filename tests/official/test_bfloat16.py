import pytest

from official.distribution import bfloat16

FLAGS = "processor : 0\nflags : fpu sse2 {} avx512_vnni\n"


@pytest.mark.parametrize(
    ("word", "device"),
    [("avx512_bf16", "CPU"), ("amx_bf16", "CPU"), ("avx512f", None)],
)
def test_a_cpu_is_known_by_its_instructions(monkeypatch, tmp_path, word, device):
    told = tmp_path / "cpuinfo"
    told.write_text(FLAGS.format(word))
    monkeypatch.setattr(bfloat16, "_CPU", told)
    monkeypatch.setattr(bfloat16.tf.config, "list_physical_devices", lambda kind: [])
    assert bfloat16.device_with_bfloat16() == device


@pytest.mark.parametrize(("capability", "device"), [((8, 0), "GPU"), ((7, 5), None)])
def test_a_gpu_is_known_by_its_generation(monkeypatch, capability, device):
    config, details = bfloat16.tf.config, {"compute_capability": capability}
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(config.experimental, "get_device_details", lambda gpu: details)
    assert bfloat16.device_with_bfloat16() == device


def test_other_systems_say_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(bfloat16, "_CPU", tmp_path / "none")
    monkeypatch.setattr(bfloat16.tf.config, "list_physical_devices", lambda kind: [])
    assert bfloat16.device_with_bfloat16() is None
