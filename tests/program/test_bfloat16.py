"""Who would gain by computing in bfloat16 is told so, once, and nobody else."""

import pytest

HINT = "--mixed_precision=bfloat16, in another --output_dir"


@pytest.mark.parametrize(
    ("long_step", "flags", "told"),
    [(0, (), 1), (10**9, (), 0), (0, ("--mixed_precision=bfloat16",), 0)],
)
def test_only_long_steps_in_float32_are_told_of(
    train, monkeypatch, tmp_path, long_step, flags, told
):
    from dlth_tf.experiment import running

    monkeypatch.setattr(running, "_LONG_STEP", long_step)
    monkeypatch.setattr(running, "device_with_bfloat16", lambda: "CPU")
    monkeypatch.setattr(running, "make_runs", lambda *arguments: 1)
    outcome = train("--method=dense", f"--output_dir={tmp_path}/it", *flags)
    assert outcome.err.count(HINT) == told
