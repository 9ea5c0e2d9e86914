"""An endpoint's address and key that can't be used: the model is unavailable, and the key stays secret."""

from __future__ import annotations

import pytest

from agent.errors import ModelUnavailable
from agent.models.endpoint import EndpointModel
from agent.settings import EndpointSettings


@pytest.mark.parametrize("url", ["http://[::1/v1#m", "http://\u2100/v1#m", "http://", "ftp://host/v1"])
def test_an_address_that_is_none_is_told_what_is_expected(url: str) -> None:
    with pytest.raises(ModelUnavailable, match=r"expected http\(s\)://HOST"):
        EndpointModel(url=url)


@pytest.mark.parametrize("key", ["sécret", "secret\r", "\nsecret"])
def test_a_key_that_no_header_takes_is_refused_unseen(key: str) -> None:
    with pytest.raises(ModelUnavailable, match="API key") as error:
        EndpointModel(url="http://127.0.0.1:1/v1#m", settings=EndpointSettings(api_key=key))
    assert "cret" not in str(error.value)
