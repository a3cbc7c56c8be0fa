"""What is a row called? Its run and decoding, and of what else differs as much as it takes."""

from collections.abc import Mapping, Sequence
from typing import Any

from capjax.comparison.rows import Row, text


def labelled(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """A label for each row: run and decoding, and of what else differs as much as it takes."""
    labels = [", ".join(filter(None, [row.run, spell(row.decoding)])) for row in rows]
    # Who may say <unk> and who may not stand side by side under their names, and say so.
    spoken = [n for n, row in enumerate(rows) if row.decoding and not row.people]
    if len({bool(rows[n].decoding.get("forbid_unknown")) for n in spoken}) > 1:
        for n in spoken:
            how = "without" if rows[n].decoding.get("forbid_unknown") else "with"
            labels[n] += f", {how} <unk>"
    settings = dict.fromkeys(name for row in rows for name in row.decoding)
    parts = [
        [row.conditions.split or "split not told" for row in rows],
        [row.conditions.dataset or "dataset not told" for row in rows],
        ["step not told" if row.step is None else f"step {row.step}" for row in rows],
        *([f"{name} {_short(row.decoding.get(name))}" for row in rows] for name in settings),
        ["seed not told" if row.seed is None else f"seed {row.seed}" for row in rows],
        [f"{row.n_samples or 'number of'} captions an image" for row in rows],
        [f"{row.conditions.n_images or 'number of'} images" for row in rows],
        [f"references {row.conditions.references or 'not told'}" for row in rows],
        [f"df {row.conditions.df or 'not told'}" for row in rows],
        [f"tokenizer {row.conditions.tokenizer or 'not told'}" for row in rows],
        [row.conditions.data or "data not told" for row in rows],
        [text(row.source) for row in rows],
        [text(row.source.resolve()) for row in rows],
        [f"no. {number}" for number, _ in enumerate(rows, 1)],  # two names that print alike
    ]
    for part in parts:
        alike: dict[str, list[int]] = {}
        for index, label in enumerate(labels):
            alike.setdefault(label, []).append(index)
        for same in alike.values():
            if len({part[index] for index in same}) > 1:
                for index in same:
                    labels[index] += f", {part[index]}"
    return list(zip(rows, labels, strict=True))


def spell(decoding: Mapping[str, Any]) -> str:
    """A decoding in a few words: "beam 3", "greedy", "sample x5 t=0.7"; "" where none is told."""
    settings = {name: _short(value) for name, value in decoding.items()}
    method = settings.pop("method", "")
    for name in ("max_len", "forbid_unknown"):  # in the label where they differ only
        settings.pop(name, None)
    blocked = settings.pop("block_trigrams", "False") == "True"
    words = [method]
    if method == "beam" and "width" in settings:
        words.append(settings.pop("width"))
    if method in ("beam", "sample") and (samples := settings.pop("samples", "1")) != "1":
        words.append(f"x{samples}")
    if method == "beam" and settings.get("groups") == "1":  # then diversity does nothing
        del settings["groups"]
        settings.pop("diversity", None)
    if method == "sample":
        words.append(f"t={settings.pop('temperature', '1')}")
    words += [f"{name}={value}" for name, value in settings.items() if value != "None"]
    words += ["no trigram twice"] * blocked
    return " ".join(words)


def span(rows: Sequence[Row], label: str, setting: str) -> str:
    """The label of rows that differ in one setting, with its first and last value.

    Arguments: label, of the first row.
    """
    first, last = rows[0].decoding, rows[-1].decoding
    values = f"{_short(first[setting])} to {_short(last[setting])}"
    begin = f"{rows[0].run}, "
    rest = label[len(begin) + len(spell(first)) :]
    if setting in ("max_len", "forbid_unknown"):
        return f"{begin}{spell(first)}, {setting} {values}"
    return f"{begin}{spell({**first, setting: values})}{rest}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else text(value)
