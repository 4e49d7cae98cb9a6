import subprocess
import sys

import pytest

from official.training.recipe import Recipe, parse_learning_rate


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
    ],
)
def test_a_setting_out_of_range_is_named(setting, value):
    with pytest.raises(ValueError, match=f"^`{setting}` must .* Received: {setting}="):
        recipe(**{setting: value})


def test_importing_costs_no_keras():
    code = "import sys, official.training.recipe; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_stretched_recipe_changes_its_rates_in_proportion():
    short = Recipe(15, 128, ((0, 0.1), (8, 0.01), (12, 0.001)), momentum=0.9, l2=5e-4)
    long = short.stretched(25)
    assert long.epochs == 25
    assert long.learning_rate == ((0, 0.1), (13, 0.01), (20, 0.001))
    assert short.stretched(15) == short


def test_a_recipe_is_not_made_shorter():
    with pytest.raises(ValueError, match="`epochs` must be at least 15"):
        Recipe(15, 128, ((0, 0.1),), momentum=0.9, l2=5e-4).stretched(1)
