"""Recipes for transformers reach every stage of the program."""

import keras
import pytest

ADAMW = (
    *("--optimizer=adamw", "--l2=0", "--weight_decay=0.01", "--learning_rate=0.003"),
    *("--schedule=cosine", "--warmup_epochs=1", "--clip_norm=1"),
)


@pytest.fixture
def fitted(monkeypatch):
    """The models that the program trains, as they are after it."""
    models, own = [], keras.Model.fit

    def fit(model, *arguments, **options):
        models.append(model)
        return own(model, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", fit)
    return models


def test_every_stage_has_the_optimizer_and_its_rate_ends_at_zero(train, fitted, tmp_path):
    methods = ("--method=lth,rst", "--rewind_to=4", "--model=mlp")
    command = (f"--output_dir={tmp_path}", *methods, *ADAMW, "--label_smoothing=0.1")
    assert train(*command).code == 0
    optimizers = [model.optimizer for model in fitted]
    assert {type(optimizer) for optimizer in optimizers} == {keras.optimizers.AdamW}
    assert {(o.weight_decay, o.global_clipnorm) for o in optimizers} == {(0.01, 1.0)}
    assert {model.loss.label_smoothing for model in fitted} == {0.1}
    # Only the transformation, and the training until step 4, do not end with a cosine.
    rates = sorted(float(optimizer.learning_rate) for optimizer in optimizers)
    assert rates == pytest.approx([0, 0, 0, 0.001, 0.0015], abs=1e-9)


def test_a_dry_run_tells_the_recipe(train, tmp_path):
    plan = train(f"--output_dir={tmp_path}/new", "--method=dense", *ADAMW, "--dry_run")
    assert plan.out.splitlines()[0] == (
        "Recipe: 2 epochs of batches of 32; adamw at 0.003 along a cosine; "
        "warm-up epochs 1; weight decay 0.01; gradient clipped to 1."
    )
