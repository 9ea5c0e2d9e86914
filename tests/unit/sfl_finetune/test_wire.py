from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from sfl_finetune.errors import MessageInvalid
from sfl_finetune.link import InProcessLink
from sfl_finetune.wire import Codec, Message, decode, encode, encoded_size


def message(*, features: int = 64) -> Message:
    generator = torch.Generator().manual_seed(1)
    return Message(
        kind="activations",
        client="north",
        round=3,
        step=7,
        features=torch.randn(4, 9, features, generator=generator),
        attention_mask=torch.tensor([[1] * 9, [1] * 5 + [0] * 4, [1] * 9, [1] + [0] * 8]),
        labels=torch.tensor([0, 5, -100, 2]),
        extra={"num_targets": 3},
    )


@pytest.mark.parametrize("codec", ["fp32", "bf16", "int8", "int4"])
@pytest.mark.parametrize("features", [6, 64, 100])
def test_a_message_without_data_tells_how_many_bytes_it_would_take(codec: Codec, features: int) -> None:
    sent = message(features=features)
    assert sent.features is not None
    assert sent.attention_mask is not None
    assert sent.labels is not None
    bare = replace(
        sent,
        features=sent.features.to("meta"),
        attention_mask=sent.attention_mask.to("meta"),
        labels=sent.labels.to("meta"),
    )
    assert encoded_size(bare, codec) == encoded_size(sent, codec) == len(encode(sent, codec))


def test_fp32_comes_back_exactly() -> None:
    sent = message()
    received = decode(encode(sent, "fp32"))
    assert received.features is not None
    assert received.attention_mask is not None
    assert received.labels is not None
    assert torch.equal(received.features, sent.features)
    assert torch.equal(received.attention_mask, sent.attention_mask)
    assert torch.equal(received.labels, sent.labels)
    assert (received.client, received.round, received.step, received.extra) == ("north", 3, 7, {"num_targets": 3})


@pytest.mark.parametrize(("codec", "ratio"), [("int8", 3.9), ("int4", 7.0)])
def test_quantised_features_take_so_many_times_fewer_bytes(codec: Codec, ratio: float) -> None:
    wide = Message(kind="gradient", client="n", round=0, step=0, features=torch.randn(16, 128, 768))
    assert len(encode(wide, "fp32")) / len(encode(wide, codec)) >= ratio


def test_receiver_shares_no_memory_with_the_sender() -> None:
    sent = message()
    link = InProcessLink()
    link.send(sent)
    assert sent.features is not None
    before = sent.features.clone()
    sent.features.zero_()
    received = link.receive().features
    assert received is not None
    assert torch.equal(received, before)


def test_link_counts_every_byte_once() -> None:
    link = InProcessLink(codec="int8")
    sizes = [link.send(message()), link.send(message())]
    assert link.traffic.num_bytes == sum(sizes) == link.queued_bytes
    link.receive()
    assert link.queued_bytes == sizes[1]
    assert link.traffic.num_messages == 2


def test_message_over_the_limit_is_refused_and_not_stored() -> None:
    link = InProcessLink(limit_bytes=1000)
    with pytest.raises(MessageInvalid, match="over the link's limit of 1000"):
        link.send(message())
    assert link.queued_bytes == 0


def test_reordering_keeps_every_message() -> None:
    link = InProcessLink()
    for step in range(3):
        link.send(Message(kind="gradient", client="n", round=0, step=step))
    link.reorder([2, 0, 1])
    assert [link.receive().step for _ in range(3)] == [2, 0, 1]
    with pytest.raises(MessageInvalid, match="nothing waits"):
        link.receive()


def _with_header(change: dict[str, object]) -> bytes:
    payload = encode(message(), "fp32")
    length = int.from_bytes(payload[:4], "little")
    header = json.loads(payload[4 : 4 + length]) | change
    head = json.dumps(header).encode()
    return len(head).to_bytes(4, "little") + head + payload[4 + length :]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\xff\xff\xff\xff",
        encode(message(), "fp32")[:-1],
        encode(message(), "int8") + b"x",
        _with_header({"round": -1}),
        _with_header({"codec": "int8"}),
        _with_header({"mask_shape": [4, 900]}),
        _with_header({"buffers": [{"name": "features", "dtype": "float32", "shape": [1 << 40, 1 << 40, 4]}]}),
        _with_header({"buffers": [{"name": "features", "dtype": "float32", "shape": [-4, 9, 64]}]}),
        _with_header({"buffers": [{"name": "features", "dtype": "object", "shape": [1]}]}),
        _with_header({"surprise": 1}),
    ],
)
def test_bytes_that_are_no_message_are_refused(payload: bytes) -> None:
    with pytest.raises(MessageInvalid):
        decode(payload)
