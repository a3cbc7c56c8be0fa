"""What does a paragraph tell of a scene? Which sentences are true, and which objects they name."""

from capjax.data.scenes.drawing import Scene
from capjax.data.scenes.language import Phrase, Statement, statements
from capjax.data.scenes.truth import readings, states_truly
from capjax.data.sentences import sentence_words


def true_sentences(text: str, scene: Scene) -> tuple[bool, ...]:
    """Whether each sentence of a paragraph is true of a scene (`holds`); () where it has no words.

    Args:
      text: a paragraph, or a caption.
      scene: as `random_scene` makes it.
    """
    if not sentence_words(text):
        return ()
    return tuple(one is not None and states_truly(one, scene) for one in statements(text))


def covered(text: str, scene: Scene) -> float:
    """The share of a scene's objects that `named` finds in a paragraph."""
    return len(named(text, scene)) / len(scene["objects"])


def named(text: str, scene: Scene) -> frozenset[int]:
    """The objects that some true sentence of a paragraph speaks of without doubt.

    A sentence speaks of an object without doubt where every way to read it truly does: "a red
    circle" of the only red circle, "two circles" of both where there are no more, "a circle left
    of a square" of the one circle that lies so; but "a circle" of neither of two. What says
    nothing of an object but that there is one ("three shapes", "an object left of a star") counts
    objects and does not describe them: it names none.

    Returns the objects' indices in the scene.
    """
    found: set[int] = set()
    for one in statements(text):
        if one is not None:
            found |= _named(one, scene)
    return frozenset(found)


def _named(statement: Statement, scene: Scene) -> set[int]:
    described = [_describes(phrase) for phrase in statement.phrases]
    ways = [
        {i for group, tells in zip(reading, described, strict=True) if tells for i in group}
        for reading in readings(statement, scene)
    ]
    return set.intersection(*ways) if ways else set()


def _describes(phrase: Phrase) -> bool:
    return bool(phrase.attributes) or phrase.place is not None
