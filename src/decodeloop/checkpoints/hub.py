"""Models of the hub by their id: the configuration alone, or the folder with the weights.

What was fetched once is kept where `huggingface_hub` keeps it, and is there without a network.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from decodeloop.checkpoints.folder import weight_files
from decodeloop.checkpoints.hub_config import CONFIG, read_config
from decodeloop.errors import ModelFileError, UserError, one_line
from decodeloop.model import ModelConfig

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# What a folder needs: no other weights (PyTorch's, ONNX's, GGUF's), which may be as large again.
NEEDED = [CONFIG, "generation_config.json", "*.safetensors", "model.safetensors.index.json"]
NEEDED += ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
NEEDED += ["chat_template.jinja"]


def is_hub_id(name: str) -> bool:
    """Whether the hub could have a model of this name: ``owner/name``, as it allows names."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    with contextlib.suppress(HFValidationError):
        validate_repo_id(name)
        return HUB_ID.fullmatch(name) is not None
    return False


def hub_config(name: str, instead: str) -> Path:
    """The `config.json` of a hub id, fetched, or as kept from an earlier time.

    Args:
        instead: what to give in its place, for the message.

    Raises:
        UserError: it can't be had.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        with contextlib.suppress(LocalEntryNotFoundError):
            return Path(hf_hub_download(name, CONFIG, local_files_only=True))
        # this fails at once where a download would try again and again
        get_hf_file_metadata(hf_hub_url(name, CONFIG), timeout=10)
        return Path(hf_hub_download(name, CONFIG))
    except Exception as error:  # a network, a hub and a cache: each has its own kinds
        raise UserError(
            f"the configuration of {name} can't be fetched ({one_line(error)}): without a network, "
            f"give {instead}."
        ) from None


def hub_folder(name: str, check: Callable[[ModelConfig], None]) -> Path:
    """The folder of a hub id: as kept, or fetched, once `check` has let its configuration pass.

    Raises:
        UserError: it can't be had.
        ModelFileError: it is of a kind that is not supported.
    """
    kept = kept_folder(name)
    if kept is not None:
        return kept
    config = hub_config(name, f"a .gguf file, or a folder with {CONFIG} and safetensors")
    check(read_config(config.parent))
    return fetched_folder(name)


def kept_folder(name: str) -> Path | None:
    """The folder of a hub id, if all of it was fetched before."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError, ModelFileError):
        folder = Path(snapshot_download(name, local_files_only=True))
        weight_files(folder)  # a configuration may have come alone
        return folder if (folder / "tokenizer.json").is_file() else None
    return None


def fetched_folder(name: str) -> Path:
    """The folder of a hub id, fetched now.

    Raises:
        UserError: it can't be had.
    """
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(name, allow_patterns=NEEDED)
        why = "it has no safetensors, or no tokenizer.json; or there is no network"
    except Exception as error:
        why = one_line(error)
    folder = kept_folder(name)
    if folder is None:
        raise UserError(
            f"the model {name} can't be fetched ({why}): try again, or give a folder with {CONFIG} "
            f"and safetensors."
        )
    return folder
