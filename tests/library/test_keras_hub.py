"""Models of KerasHub, which only the tests need: tiny, random, trained for some steps."""

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from tests.library.test_fixed_ticket import assert_zeros

hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")

TEXT = {"vocabulary_size": 20, "num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16}
MODELS = {
    "Bert": {"num_heads": 2, "max_sequence_length": 6, **TEXT},
    "DistilBert": {"num_heads": 2, "max_sequence_length": 6, **TEXT},
    "GPT2": {"num_heads": 2, "max_sequence_length": 6, **TEXT},
    "Llama": {"num_query_heads": 2, "num_key_value_heads": 1, **TEXT},
    "ViT": {
        **{"image_shape": (8, 8, 3), "patch_size": 4, "num_layers": 1},
        **{"num_heads": 2, "hidden_dim": 8, "mlp_dim": 16},
    },
}
TABLES = {"ViT": "*/position_embedding"}


def built(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return getattr(hub.models, f"{name}Backbone")(**MODELS[name])


@pytest.mark.parametrize("name", MODELS)
def test_a_ticket_is_drawn_trained_saved_and_loaded(name, tmp_path):
    model = built(name)
    # Those of an attention alone are four.
    assert len(dlth.maskable_kernels(model)) >= 6
    sparsity = {TABLES.get(name, "*token_embedding"): 0.5, "*": 0.9}
    ticket = dlth.random_ticket(model, sparsity, seed=0)
    assert len(ticket.masks) == len(dlth.maskable_kernels(model)) + 1
    ticket.save(tmp_path / "ticket")
    ticket = dlth.Ticket.load(tmp_path / "ticket")

    x = {i.name: np.ones((4, *(n or 6 for n in i.shape[1:])), int) for i in model.inputs}
    x = x if len(x) > 1 else x["images"]
    target = keras.tree.map_structure(lambda out: np.zeros(out.shape), model(x))
    model.compile("adam", "mse", jit_compile=False)
    callbacks = [dlth.FixedTicket(ticket)]
    model.fit(x, target, batch_size=2, callbacks=callbacks, verbose=0)
    assert_zeros(model, ticket)
    for fitted in (built(name), model):
        assert len(ticket.pairs(fitted)) == len(ticket.masks)
