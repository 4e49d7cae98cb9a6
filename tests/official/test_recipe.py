import subprocess
import sys

import pytest

from official.training.recipe import OPTIMIZERS, Descent, Recipe, parse_learning_rate


def recipe(**changes):
    settings = {
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": ((0, 0.1), (2, 0.01), (3, 0.001)),
        "momentum": 0.9,
        "l2": 5e-4,
    }
    return Recipe(**(settings | changes))


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (19, 0.1), (20, 0.01), (29, 0.01), (30, 0.001), (1000, 0.001)],
)
def test_rate_changes_at_the_first_step_of_its_epoch(step, rate):
    optimizer = recipe().optimizer(steps_per_epoch=10)
    optimizer.iterations.assign(step)
    assert float(optimizer.learning_rate) == pytest.approx(rate)


def test_a_single_rate_is_no_schedule():
    optimizer = recipe(learning_rate=((0, 0.05),)).optimizer(7)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
    optimizer.learning_rate = 0.01


def test_optimizer_steps_with_the_scheduled_rate():
    import keras

    optimizer = recipe(momentum=0.0).optimizer(steps_per_epoch=1)
    weight = keras.Variable([0.0])
    values = []
    for _ in range(4):
        optimizer.apply([keras.ops.ones(1)], [weight])
        values.append(float(weight.numpy()[0]))
    assert values == pytest.approx([-0.1, -0.2, -0.21, -0.211])


def test_optimizer_is_fresh_and_has_the_momentum():
    first, second = (recipe(momentum=0.7).optimizer(10) for _ in range(2))
    assert first is not second
    assert first.momentum == 0.7


def cosine(**changes):
    rates = {"learning_rate": ((0, 0.1),), "schedule": "cosine", "warmup_epochs": 2}
    return recipe(epochs=10, **(rates | changes))


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.0), (5, 0.025), (20, 0.1), (60, 0.05), (80, 0.05 - 2**-0.5 / 20), (100, 0.0)],
)
def test_a_cosine_rises_and_falls_to_zero_at_the_end(step, rate):
    optimizer = cosine().optimizer(steps_per_epoch=10)
    optimizer.iterations.assign(step)
    assert float(optimizer.learning_rate) == pytest.approx(rate, abs=1e-7)


def test_a_cosine_without_warm_up_begins_with_its_rate():
    optimizer = cosine(warmup_epochs=0).optimizer(steps_per_epoch=10)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


@pytest.mark.parametrize("made", [cosine(), recipe()])
def test_a_schedule_may_be_gone_into_later(made):
    whole, later = made.optimizer(10), made.optimizer(10, first_step=15)
    for step in range(15, 40):
        whole.iterations.assign(step)
        later.iterations.assign(step - 15)
        assert float(later.learning_rate) == float(whole.learning_rate)


def test_adam_corrects_for_its_own_first_step_wherever_the_schedule_begins():
    import keras

    adam = cosine(l2=0.0, descent=Descent("adam")).optimizer(10, first_step=60)
    weight = keras.Variable([0.0])
    adam.apply([keras.ops.ones(1)], [weight])
    assert float(weight.numpy()[0]) == pytest.approx(-0.05, rel=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_keras_own_by_its_name(name):
    made = recipe(l2=0.0, descent=Descent(name, 0.02, 3.0)).optimizer(10)
    assert type(made).__name__.lower() == name
    assert (made.weight_decay, made.global_clipnorm) == (0.02, 3.0)
    assert type(made).__module__.startswith("official" if name == "sgd" else "keras.")


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_kernels_decay(name):
    import keras

    layer = keras.layers.Dense(2, bias_initializer="ones")
    layer.build((None, 3))
    before = [weight.numpy() for weight in layer.weights]
    made = recipe(l2=0.0, learning_rate=((0, 0.1),), descent=Descent(name, 0.5))
    made.optimizer(10).apply([keras.ops.zeros(w.shape) for w in before], layer.weights)
    kernel, bias = (weight.numpy() for weight in layer.weights)
    assert kernel == pytest.approx(0.95 * before[0], rel=1e-6)
    assert (bias == before[1]).all()


def test_without_a_decay_of_its_own_adamw_has_none():
    made = recipe(l2=0.0, descent=Descent("adamw")).optimizer(10)
    assert made.weight_decay == 0.0 and made.global_clipnorm is None


def test_a_title_tells_what_is_set():
    assert recipe().title == (
        "4 epochs of batches of 32; sgd at 0.1 from epoch 0, 0.01 from epoch 2, 0.001 "
        "from epoch 3; L2 0.0005"
    )
    told = cosine(l2=0.0, descent=Descent("adamw", 0.05, 1.0, 0.1)).title
    assert told == (
        "10 epochs of batches of 32; adamw at 0.1 along a cosine; warm-up epochs 2; "
        "weight decay 0.05; gradient clipped to 1; labels smoothed by 0.1"
    )


def test_a_plain_number_is_a_constant_rate():
    assert parse_learning_rate("0.05") == ((0, 0.05),)


@pytest.mark.parametrize("text", ["", "fast", "0:0.1,x:0.01", "0:1:2", "0.1,0.01", "0:"])
def test_other_text_is_refused_and_quoted(text):
    with pytest.raises(ValueError, match="epoch:value") as error:
        parse_learning_rate(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", -1),
        ("batch_size", 0),
        ("momentum", 1.0),
        ("l2", -1e-4),
        ("l2", float("nan")),
        ("learning_rate", ()),
        ("learning_rate", ((1, 0.1),)),
        ("learning_rate", ((0, 0.1), (5, 0.01), (5, 0.001))),
        ("learning_rate", ((0, 0.1), (9, 0.01), (5, 0.001))),
        ("learning_rate", ((0, 0.0),)),
        ("learning_rate", ((0, float("inf")),)),
        ("warmup_epochs", 1),
    ],
)
def test_a_setting_out_of_range_is_named(setting, value):
    with pytest.raises(ValueError, match=f"^`{setting}` must .* Received: {setting}="):
        recipe(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("warmup_epochs", 10),
        ("warmup_epochs", -1),
        ("learning_rate", ((0, 0.1), (2, 0.01))),
    ],
)
def test_a_cosine_has_one_rate_and_ends_after_its_warm_up(setting, value):
    with pytest.raises(ValueError, match=f"^`{setting}` must .* Received: {setting}="):
        cosine(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("weight_decay", -0.1),
        ("clip_norm", float("nan")),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
    ],
)
def test_a_setting_of_the_steps_out_of_range_is_named(setting, value):
    with pytest.raises(ValueError, match=f"^`{setting}` must .* Received: {setting}="):
        Descent(**{setting: value})


def test_l2_in_the_gradient_is_for_sgd():
    with pytest.raises(ValueError, match="`l2` must be 0 with optimizer=adamw"):
        recipe(descent=Descent("adamw"))


def test_importing_costs_no_keras():
    code = "import sys, official.training.recipe; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_stretched_recipe_changes_its_rates_in_proportion():
    short = Recipe(15, 128, ((0, 0.1), (8, 0.01), (12, 0.001)), momentum=0.9, l2=5e-4)
    long = short.stretched(25)
    assert long.epochs == 25
    assert long.learning_rate == ((0, 0.1), (13, 0.01), (20, 0.001))
    assert short.stretched(15) == short
    longer = cosine().stretched(25)
    assert (longer.epochs, longer.warmup_epochs) == (25, 5)


def test_a_recipe_is_not_made_shorter():
    with pytest.raises(ValueError, match="`epochs` must be at least 15"):
        Recipe(15, 128, ((0, 0.1),), momentum=0.9, l2=5e-4).stretched(1)
