"""Cache keys of images and sources."""

import hashlib

from services.executor.core.image_keys import config_key, manifest_key, source_key
from shared.model import Digest, Platform
from shared.oci import parse_image_config

DIGEST = Digest("sha256:" + "a" * 64)


def test_manifest_key_is_the_hash_of_gos_json() -> None:
    """Field order and omitted empties count."""
    text = f'{{"Digest":"{DIGEST}","OS":"linux","Arch":"arm64","Variant":"v8","Limit":3}}'

    key = manifest_key(DIGEST, Platform(os="linux", architecture="arm64", variant="v8"), 3)
    assert key == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_one_layer_is_its_own_chain() -> None:
    """Equal layers under another tag hit."""
    config = parse_image_config(b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["%s"]}}' % DIGEST.encode())

    assert config_key(config, None) == DIGEST


def test_no_layers_no_second_key() -> None:
    """An image without layers is found by its manifest only."""
    assert config_key(parse_image_config(b'{"os":"linux","architecture":"amd64"}'), None) == ""


def test_session_keys_are_random() -> None:
    """They must never be persisted."""
    assert source_key("session:context:x").startswith("random:")
    assert source_key("other").startswith("sha256:")
