"""Dirichlet-multinomial loss and its gradient: all questions at once against a loop over questions, in the same run.

`python -m tests.benchmarks.likelihood [--questions 86] [--batch 256] [--threads 1] [--asked 1.0]`: the sizes of Zoobot's
largest tree, 86 questions and 279 answers. `--asked` is the share of questions that a galaxy has votes on. The loop is
what peers do: log-gamma of torch per question, gradient by autograd. Times on one thread are of the process, which other
programs do not stretch; on several, where a loop leaves all but one idle, they are by the clock: give it idle cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from alservice.network.likelihood import dirichlet_multinomial_nll
from alservice.science.tree import Question, Tree
from tests.benchmarks.predict import best_seconds


def make_tree(questions: int) -> Tree:
    """Return a tree of questions of three answers, every fourth of four, all asked of everyone."""
    widths = (4 if i % 4 == 0 else 3 for i in range(questions))
    return Tree(name="benchmark", questions=tuple(make_question(i, width) for i, width in enumerate(widths)))


def make_question(number: int, width: int) -> Question:
    """Return a question that everyone is asked."""
    answers = tuple(f"answer-{answer}" for answer in range(width))
    return Question(
        name=f"question-{number}",
        text="?",
        answers=answers,
        labels=answers,
        parents=(),
        task=f"T{number}",
        task_answers=answers,
    )


def loop(concentrations: torch.Tensor, counts: torch.Tensor, tree: Tree) -> torch.Tensor:
    """Return (B, Q) nats, one question after the other."""
    columns = []
    for answers in tree.slices:
        alpha, k = concentrations[:, answers], counts[:, answers]
        total, n = alpha.sum(1), k.sum(1)
        of_answers = (torch.lgamma(k + alpha) - torch.lgamma(alpha) - torch.lgamma(k + 1)).sum(1)
        columns.append(torch.lgamma(n + total) - torch.lgamma(total) - torch.lgamma(n + 1) - of_answers)
    return torch.stack(columns, dim=1)


def measure(*, questions: int, batch: int, repeats: int, asked: float = 1.0) -> tuple[float, float, float]:
    """Return seconds of the loop and of ours, and the largest difference of their values (nats)."""
    tree = make_tree(questions)
    generator = torch.Generator().manual_seed(0)
    concentrations = (torch.rand(batch, tree.n_answers, generator=generator) * 20 + 0.1).requires_grad_()
    counts = torch.poisson(torch.full((batch, tree.n_answers), 10.0), generator=generator)
    is_asked = torch.rand(batch, questions, generator=generator) < asked
    counts *= is_asked[:, torch.tensor(tree.question_of_answer)]

    def timed(nll: Callable[..., torch.Tensor]) -> float:
        def step() -> None:
            concentrations.grad = None
            nll(concentrations, counts, tree).sum().backward()

        return best_seconds(step, "cpu", repeats)

    with torch.no_grad():
        difference = dirichlet_multinomial_nll(concentrations, counts, tree) - loop(concentrations, counts, tree)
    return timed(loop), timed(dirichlet_multinomial_nll), difference.abs().max().item()


def main() -> None:
    """Print the measured figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=86)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--asked", type=float, default=1.0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    theirs, ours, difference = measure(
        questions=arguments.questions, batch=arguments.batch, repeats=arguments.repeats, asked=arguments.asked
    )
    print(f"loop over {arguments.questions} questions: {1e3 * theirs:.2f} ms; all at once: {1e3 * ours:.2f} ms")
    print(f"{theirs / ours:.1f} times as fast; values differ by at most {difference:.1e} nats")


if __name__ == "__main__":
    main()
