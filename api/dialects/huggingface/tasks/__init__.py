"""Hugging Face's tasks by their names, and which of them a model and a body stand for."""

from api.catalog import ModelEntry, UnknownModel
from api.dialects.huggingface.bodies import Body
from api.dialects.huggingface.tasks.base import Task
from api.dialects.huggingface.tasks.classification import ZeroShotImageClassification
from api.dialects.huggingface.tasks.detection import ObjectDetection
from api.dialects.huggingface.tasks.pictures import ImageToImage, TextToImage
from api.dialects.huggingface.tasks.texts import ImageToText, VisualQuestionAnswering
from api.errors import DarkroomError
from config.catalog import get_catalog

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        TextToImage(),
        ImageToImage(),
        ImageToText(),
        VisualQuestionAnswering(),
        ObjectDetection(),
        ZeroShotImageClassification(),
    )
}


def find_task(name: str) -> Task:
    """Raises DarkroomError (404)."""
    if name not in TASKS:
        raise unknown_task(name)
    return TASKS[name]


def unknown_task(name: str) -> DarkroomError:
    return DarkroomError("unknown_task", 404, f"There is no task '{name[:100]}' here. Known: {', '.join(TASKS)}.")


def find_entry(model_id: str) -> ModelEntry:
    """Raises DarkroomError (404)."""
    try:
        return get_catalog().get(model_id)
    except UnknownModel as error:
        raise DarkroomError("model_not_found", 404, f"{error} GET /api/models/ lists those that this server knows.") from None


def task_of(entry: ModelEntry, body: Body | None = None) -> Task:
    """What a model is asked for by this body; by none: what it does first. Raises DarkroomError (400)."""
    can = [task for task in TASKS.values() if entry.task in task.model_tasks]
    if not can:
        raise DarkroomError(
            "wrong_task", 400, f"{entry.name} does none of the tasks here (its own is {entry.task}): {', '.join(TASKS)}."
        )
    return next((task for task in can if body is not None and task.is_meant(body)), can[0])


__all__ = ["TASKS", "Task", "find_entry", "find_task", "task_of", "unknown_task"]
