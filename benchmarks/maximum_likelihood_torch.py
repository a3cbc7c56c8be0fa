"""The work of maximum_likelihood.py by a straightforward PyTorch version."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from workload import DIM, IMAGE, seconds

from capjax.compiled.lengths import STEPS, VOCABULARY, captions_like_coco


class Captioner(nn.Module):
    """An LSTM over words that starts from an image's features."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(IMAGE, DIM)
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.cell = nn.LSTMCell(DIM, DIM)
        self.words = nn.Linear(DIM, VOCABULARY)

    def start(self, image):
        return self.cell(torch.relu(self.project(image)))

    def step(self, state, word):
        state = self.cell(self.embed(word), state)
        return state, state[0]


def endless(logits):
    """The logits of words, without the end: every decode runs all its steps."""
    logits[:, 0] = -1e4
    return logits


def torch_cases(
    repeats: int, dtype: str, device: str = "cpu", number: int = 320, searched: int = 64
) -> dict[str, float]:
    """The same work by a straightforward PyTorch version: name -> seconds.

    number: captions that are learnt from and drawn; searched: images for greedy and beam search.
    """
    torch.manual_seed(0)
    torch.set_default_device(device)
    rng = np.random.default_rng(0)
    captions = torch.from_numpy(captions_like_coco(rng, number).astype(np.int64)).to(device)
    images = torch.from_numpy(rng.normal(size=(number, IMAGE)).astype(np.float32)).to(device)
    ended = (captions == 0).cumsum(1)
    real = (ended - (captions == 0).long()) == 0

    model = Captioner()
    optimizer = torch.optim.Adam(model.parameters(), 5e-4)
    drop = nn.Dropout(0.5)

    def train() -> None:
        state, word = model.start(images), torch.zeros(number, dtype=torch.long)
        hidden = []
        for t in range(STEPS):
            state, h = model.step(state, word)
            hidden.append(h)
            word = captions[:, t]
        logits = model.words(drop(torch.stack(hidden, 1)))
        loss = nn.functional.cross_entropy(logits[real], captions[real])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    @torch.no_grad()
    def sample() -> None:
        state, word = model.start(images), torch.zeros(number, dtype=torch.long)
        for _ in range(STEPS):
            state, h = model.step(state, word)
            logits = endless(model.words(h))
            word = torch.multinomial(torch.softmax(logits, 1), 1)[:, 0]

    @torch.no_grad()
    def greedy() -> None:
        state, word = model.start(images[:searched]), torch.zeros(searched, dtype=torch.long)
        for _ in range(STEPS):
            state, h = model.step(state, word)
            logits = endless(model.words(h))
            word = logits.argmax(1)

    @torch.no_grad()
    def beam() -> None:
        n, width = searched, 5
        first = model.start(images[:n])
        state = tuple(x.repeat_interleave(width, 0) for x in first)
        word = torch.zeros(n * width, dtype=torch.long)
        score = torch.full((n, width), -torch.inf)
        score[:, 0] = 0
        rows = torch.arange(n)[:, None] * width
        for _ in range(STEPS):
            state, h = model.step(state, word)
            logits = endless(model.words(h))
            total = score[:, :, None] + torch.log_softmax(logits, 1).view(n, width, -1)
            score, index = total.view(n, -1).topk(width)
            parent, word = index // VOCABULARY, (index % VOCABULARY).view(-1)
            state = tuple(x[(rows + parent).view(-1)] for x in state)

    runs = {
        f"train {number} captions": train,
        f"sample {number} captions": sample,
        f"greedy {searched} images": greedy,
        f"beam 5, {searched} images": beam,
    }
    with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
        return {name: seconds(waited(run, device), repeats) for name, run in runs.items()}


def waited(run: Callable[[], object], device: str) -> Callable[[], None]:
    """A run that is over when the device has done what it was given."""

    def whole() -> None:
        run()
        if device != "cpu":
            torch.cuda.synchronize()

    return whole
