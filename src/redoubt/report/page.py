"""The HTML report: one self-contained file, no scripts, nothing fetched."""

from collections import Counter

from jinja2 import Environment, PackageLoader, StrictUndefined

from redoubt.records import Verdict
from redoubt.report import words
from redoubt.report.games import section
from redoubt.report.read import Folder

ORDER = (Verdict.VIOLATED, Verdict.UNDECIDED, Verdict.WITHSTOOD, Verdict.PROVED)


def render_page(folder: Folder, command: str) -> str:
    """The whole report as HTML.

    Args:
        folder: the evidence.
        command: the shell command that makes this evidence again.
    """
    evidence, timings = folder.evidence, folder.timings
    tally = Counter(requirement.verdict for requirement in evidence.requirements)
    environment = Environment(
        loader=PackageLoader("redoubt.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "plain": words.plain,
        "line": words.one_line,
        "count": words.count,
        "bound": words.bound_words,
        "measure": words.measure_name,
        "measured": words.measured_words,
        "span": words.seconds,
        "hours": words.time_words,
    }
    return environment.get_template("report.html.j2").render(
        evidence=evidence,
        policy=folder.policy,
        timings=timings,
        elapsed=sum(timings.of(requirement.id) for requirement in evidence.requirements) if timings else 0.0,
        command=command,
        headline=words.headline(evidence),
        verdict=next((verdict for verdict in ORDER if tally[verdict]), Verdict.UNDECIDED),
        tally=[(verdict, tally[verdict]) for verdict in ORDER],
        meaning=words.MEANING,
        manners=words.MANNERS,
        remedies=words.SIGN_REMEDY,
        passes=sum(requirement.work.passes for requirement in evidence.requirements),
        sections=[section(folder, requirement, f"r{i}") for i, requirement in enumerate(evidence.requirements, 1)],
    )
