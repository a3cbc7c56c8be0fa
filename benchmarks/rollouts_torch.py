"""The early feedback of rollouts.py by straightforward PyTorch loops, in three forms."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from workload import DIM, IMAGE

from capjax.compiled.lengths import STEPS, VOCABULARY


class Network(nn.Module):
    """An LSTM over words that starts from an image; with words it speaks, without it reads."""

    def __init__(self, words: bool):
        super().__init__()
        self.project = nn.Linear(IMAGE, DIM)
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.cell = nn.LSTMCell(DIM, DIM)
        self.words = nn.Linear(DIM, VOCABULARY) if words else None


class Rollouts:
    """n completions of every prefix of captions, each judged: values float[B, T]."""

    def __init__(
        self,
        captions: np.ndarray,
        images: np.ndarray,
        ends: np.ndarray,
        n: int,
        device: str = "cpu",
    ):
        """captions: int32[B, T]; images: [B, IMAGE]; ends: [T], the logit of an end at a step."""
        torch.manual_seed(0)
        torch.set_default_device(device)
        self.captions = torch.from_numpy(captions.astype(np.int64)).to(device)
        self.images = torch.from_numpy(images).to(device)
        self.ends = torch.from_numpy(ends.astype(np.float32)).to(device)
        self.batch, self.n = len(captions), n
        self.speaker, self.judge = Network(True), Network(False)

    def forms(self) -> dict[str, Callable]:
        """Each form by its name; the first is that of SeqGAN's many codes."""
        return {
            "prefixes run again, a rollout at a time": self.one_by_one,
            "prefixes run again, n at a time": self.again,
            "states kept, n at a time": self.kept,
        }

    def draw(self, hidden, t):
        logits = self.speaker.words(hidden)
        logits[:, 0] = self.ends[t]
        return torch.multinomial(torch.softmax(logits, 1), 1)[:, 0]

    def finish(self, state, word, t, given, early=True):
        """Speaks on from a prefix of words 0..t; the captions."""
        done = torch.zeros(len(word), dtype=torch.bool)
        spoken = list(given)
        for q in range(t + 1, STEPS):
            state = self.speaker.cell(self.speaker.embed(word), state)
            word = torch.where(done, 0, self.draw(state[0], q))
            done |= word == 0
            spoken.append(word)
            if early and done.all():
                break
        return torch.stack(spoken, 1)

    def read(self, words, state, seen, early=True):
        """r of captions, by reading on from a state."""
        done = torch.zeros(len(words), dtype=torch.bool)
        for q in range(words.shape[1]):
            new = self.judge.cell(self.judge.embed(words[:, q]), state)
            state = tuple(torch.where(done[:, None], a, b) for a, b in zip(state, new, strict=True))
            done = done | (words[:, q] == 0)
            if early and done.all():
                break
        return torch.sigmoid((seen * state[0]).sum(1))

    @torch.no_grad()
    def one_by_one(self):
        """A rollout of all captions after another, for every prefix, always T words long."""
        speaker, captions = self.speaker, self.captions
        values = torch.zeros(self.batch, STEPS)
        seen = torch.relu(self.judge.project(self.images))
        for _ in range(self.n):
            for t in range(STEPS - 1):
                state = speaker.cell(torch.relu(speaker.project(self.images)))
                word = torch.zeros(self.batch, dtype=torch.long)
                for q in range(t + 1):
                    state = speaker.cell(speaker.embed(word), state)
                    word = captions[:, q]
                finished = self.finish(state, word, t, captions[:, : t + 1].T, early=False)
                r = self.read(finished, blank(self.batch), seen, early=False)
                values[:, t] += r / self.n * (captions[:, t] > 0)
        return values

    @torch.no_grad()
    def again(self):
        """All rollouts of a prefix as one batch, which stops when its last caption ends."""
        speaker, captions, n = self.speaker, self.captions, self.n
        values = torch.zeros(self.batch, STEPS)
        many = captions.repeat_interleave(n, 0)
        first = self.images.repeat_interleave(n, 0)
        seen = torch.relu(self.judge.project(first))
        for t in range(STEPS - 1):
            if not (captions[:, t] > 0).any():
                break
            state = speaker.cell(torch.relu(speaker.project(first)))
            word = torch.zeros(len(many), dtype=torch.long)
            for q in range(t + 1):
                state = speaker.cell(speaker.embed(word), state)
                word = many[:, q]
            finished = self.finish(state, word, t, many[:, : t + 1].T)
            r = self.read(finished, blank(len(finished)), seen)
            values[:, t] = r.view(self.batch, n).mean(1) * (captions[:, t] > 0)
        return values

    @torch.no_grad()
    def kept(self):
        """States of every prefix are kept, the evaluator's as well."""
        speaker, judge, n = self.speaker, self.judge, self.n
        values = torch.zeros(self.batch, STEPS)
        image = torch.relu(speaker.project(self.images))
        seen = torch.relu(judge.project(self.images)).repeat_interleave(n, 0)
        state, reading = speaker.cell(image), blank(self.batch)
        state = speaker.cell(speaker.embed(torch.zeros(self.batch, dtype=torch.long)), state)
        for t in range(STEPS - 1):
            word = self.captions[:, t]
            if not (word > 0).any():
                break
            reading = judge.cell(judge.embed(word), reading)
            many = tuple(x.repeat_interleave(n, 0) for x in state)
            finished = self.finish(many, word.repeat_interleave(n), t, ())
            before = tuple(x.repeat_interleave(n, 0) for x in reading)
            r = self.read(finished, before, seen)
            values[:, t] = r.view(self.batch, n).mean(1) * (word > 0)
            state = speaker.cell(speaker.embed(word), state)
        return values


def blank(rows: int):
    """The state before any word."""
    return torch.zeros(rows, DIM), torch.zeros(rows, DIM)
