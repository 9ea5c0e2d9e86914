"""Prompt-completion files, one a site, and how they become token ids."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, StringConstraints, ValidationError

from sfl_finetune.errors import CorpusInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

IGNORED = -100
"""The target of tokens nothing is learnt from, by torch's convention."""

_MAX_LINE_BYTES = 10_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One text: token ids, and a target per token (causal LM) or a single class."""

    token_ids: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """The texts of one client."""

    name: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Sites that can be learnt from, and why others can't."""

    sites: tuple[Site, ...]
    refused: dict[str, str]
    """Reason by site name."""
    num_too_long: int
    """Rows left out because they exceed the length limit."""


class _Row(BaseModel):
    prompt: str
    completion: Annotated[str, StringConstraints(min_length=1)]


def read_corpus(folder: Path, tokenizer: Any, *, max_tokens: int) -> Corpus:
    """Every `*.jsonl` of `folder`, tokenised; a site that can't be read is refused, the others go on."""
    files = _site_files(folder)
    if not files:
        raise CorpusInvalid(f"{str(folder)!r} holds no *.jsonl file; wanted one per site")
    sites: list[Site] = []
    refused: dict[str, str] = {}
    num_too_long = 0
    for file in files:
        try:
            examples = [_tokenise(row, tokenizer) for row in _rows(file)]
        except CorpusInvalid as error:
            refused[file.stem] = str(error)
            continue
        kept = tuple(example for example in examples if len(example.token_ids) <= max_tokens)
        num_too_long += len(examples) - len(kept)
        if kept:
            sites.append(Site(name=file.stem, examples=kept))
        else:
            refused[file.stem] = f"{file.name}: all {len(examples)} rows exceed {max_tokens} tokens"
    if not sites:
        raise CorpusInvalid("no site can be learnt from: " + "; ".join(refused.values()))
    return Corpus(sites=tuple(sites), refused=refused, num_too_long=num_too_long)


def _site_files(folder: Path) -> list[Path]:
    wanted = "wanted a folder with a JSONL file per site"
    try:
        if not folder.is_dir():
            raise CorpusInvalid(f"corpus folder {str(folder)!r} does not exist; {wanted}")
        return sorted(folder.glob("*.jsonl"))
    except OSError as error:
        raise CorpusInvalid(f"corpus folder {str(folder)!r}: {error.strerror}; {wanted}") from error


def _rows(file: Path) -> list[_Row]:
    try:
        with file.open("rb") as lines:
            rows = [_row(f"{file.name}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip()]
    except OSError as error:
        raise CorpusInvalid(f"{file.name}: can't be read: {error.strerror}; wanted a readable JSONL file") from error
    if not rows:
        raise CorpusInvalid(f"{file.name}: no rows; wanted a JSON object with prompt and completion on each line")
    return rows


def _row(place: str, line: bytes) -> _Row:
    if len(line) > _MAX_LINE_BYTES:
        raise CorpusInvalid(f"{place}: a line of {len(line)} bytes; at most {_MAX_LINE_BYTES}")
    try:
        return _Row.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "row"
        raise CorpusInvalid(
            f'{place}: {where}: {first["msg"]}; wanted {{"prompt": text, "completion": text}}'
        ) from error


def _tokenise(row: _Row, tokenizer: Any) -> Example:
    """Prompt and completion are tokenised apart, as they meet when the model serves: no token spans the border."""
    end = tokenizer.eos_token_id
    prompt_ids = list(tokenizer(row.prompt)["input_ids"])
    if end is not None and prompt_ids and prompt_ids[-1] == end:
        prompt_ids.pop()
    completion_ids = list(tokenizer(row.completion, add_special_tokens=False)["input_ids"])
    if end is not None and (not completion_ids or completion_ids[-1] != end):
        completion_ids.append(end)
    if not prompt_ids:
        # A causal model predicts nothing for the first token, so an empty prompt costs the first target.
        return Example(token_ids=tuple(completion_ids), targets=(IGNORED, *completion_ids[1:]))
    return Example(token_ids=(*prompt_ids, *completion_ids), targets=(*[IGNORED] * len(prompt_ids), *completion_ids))


def texts_digest(parts: Iterable[tuple[str, Sequence[object]]]) -> str:
    """What tells one choice of texts from another; rows are texts with their targets or labels, in named parts."""
    digest = sha256()
    for name, rows in parts:
        digest.update(repr((name, len(rows))).encode())
        for row in rows:
            digest.update(repr(row).encode())
    return digest.hexdigest()


def num_targets(examples: Iterable[Example]) -> int:
    """Tokens or classes that something is learnt from."""
    return sum(target != IGNORED for example in examples for target in example.targets)
