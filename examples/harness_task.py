"""The sums of harness_models.py as a task of inspect: ``inspect eval harness_task.py -T data=FOLDER/sums.jsonl``."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate


@task
def sums(data: str) -> Task:
    """Held-out sums, judged by the number after ``####``."""
    problems = json_dataset(data, lambda line: Sample(input=line["question"], target=line["answer"]), auto_id=True)
    return Task(dataset=problems, solver=generate(), scorer=pattern(r"#### ([0-9]+)"))
