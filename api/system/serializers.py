"""The shapes of what this server says of itself. They document; selectors.py makes the values."""

import uuid

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.catalog import UnknownModel, is_entry_name, is_model_id
from api.errors import DarkroomError
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.jobs.draining import draining_ids
from api.jobs.models import Worker
from api.strict import StrictSerializer
from api.system.model_list import MODEL_LIST_KINDS, MOST_ADAPTERS
from api.system.selectors import live_workers
from api.system.spec import ALL_WORKERS, ModelSpec
from config.catalog import get_catalog


class HealthSerializer(serializers.Serializer[object]):
    status = serializers.CharField(help_text="ok")


class ReadySerializer(serializers.Serializer[object]):
    status = serializers.ChoiceField(
        choices=["ok", "loading"], help_text="loading: requests are accepted, and wait until the default models are in memory."
    )


class QueueSerializer(serializers.Serializer[object]):
    queued = serializers.IntegerField()
    running = serializers.IntegerField()


class DeviceSerializer(serializers.Serializer[object]):
    type = serializers.CharField(help_text="cuda, mps or cpu")
    index = serializers.IntegerField()
    name = serializers.CharField()
    memory_total = serializers.IntegerField(help_text="Bytes.")


class MemorySerializer(serializers.Serializer[object]):
    """Bytes of the machine's main memory."""

    total = serializers.IntegerField()
    available = serializers.IntegerField()


class LoadedModelSerializer(serializers.Serializer[object]):
    id = serializers.CharField()
    bytes = serializers.IntegerField(help_text="Of weights, measured.")
    pinned = serializers.BooleanField(help_text="In use now.")
    last_used = serializers.FloatField(help_text="Seconds since 1970.")
    measures = serializers.ListField(child=serializers.CharField(), help_text="Measures in force against a shortage of memory.")
    dtypes = serializers.DictField(
        child=serializers.CharField(),
        required=False,
        help_text="What each of its parts is held in. Not told by workers of a version before.",
    )


class WorkerSerializer(serializers.Serializer[object]):
    id = serializers.UUIDField()
    hostname = serializers.CharField()
    state = serializers.ChoiceField(choices=Worker.State.choices)
    drained = serializers.BooleanField(help_text="Whether it was taken out of work and runs nothing any more.")
    kinds = serializers.ListField(child=serializers.CharField(), help_text="Kinds of job of which it can run some or all.")
    device = DeviceSerializer(allow_null=True)
    dtype = serializers.CharField(
        allow_null=True, help_text="What models run in where they have no need of their own: float32 on a GPU is slow."
    )
    memory = MemorySerializer(allow_null=True)
    models = LoadedModelSerializer(many=True)
    started_at = serializers.DateTimeField()
    heartbeat = serializers.DateTimeField()


class SystemInfoSerializer(serializers.Serializer[object]):
    """Of the newest worker's machine; null where only a worker knows and there is none."""

    pytorch_version = serializers.CharField(allow_null=True)
    cuda_available = serializers.BooleanField(allow_null=True)
    cuda_version = serializers.CharField(allow_null=True)
    device_count = serializers.IntegerField(allow_null=True)
    devices = serializers.ListField(child=serializers.DictField())
    cpu = serializers.DictField()
    memory = MemorySerializer()


class StatusSerializer(serializers.Serializer[object]):
    status = serializers.ChoiceField(choices=["ready", "loading", "busy", "no_worker"])
    worker_error = serializers.CharField(allow_null=True, help_text="Why the worker that was started last could not start.")
    inference_available = serializers.BooleanField()
    loaded_models = serializers.ListField(child=serializers.CharField())
    queue = QueueSerializer()
    workers = WorkerSerializer(many=True)
    system_info = SystemInfoSerializer()


class HashesSerializer(serializers.Serializer[object]):
    """Of a file in the library; computed in the background after it was found."""

    sha256 = serializers.CharField()
    autov2 = serializers.CharField(help_text="As Civitai and A1111 show it.")
    autov3 = serializers.CharField(help_text="Of its tensors, without the header: A1111's of a LoRA.")
    short = serializers.CharField(help_text="A1111's first form.")


class ModelSerializer(serializers.Serializer[object]):
    id = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(
        choices=MODEL_LIST_KINDS,
        help_text="checkpoint and denoiser make pictures; model: everything else that is in the catalog.",
    )
    task = serializers.CharField(allow_blank=True)
    family = serializers.CharField(allow_blank=True, help_text="The architecture: sd1, sdxl, flux, …")
    source = serializers.CharField(help_text="Its page on the hub; built-in; local; or library.")  # type: ignore[assignment]
    licence = serializers.CharField()
    gated = serializers.BooleanField(help_text="Its licence must be accepted on the hub, and HF_TOKEN set.")
    default_size = serializers.IntegerField(help_text="Pixels of a side; 0 for what makes no pictures.")
    default_steps = serializers.IntegerField()
    default_guidance_scale = serializers.FloatField()
    scheduler = serializers.CharField(allow_blank=True, help_text="What a request gets that names none; empty: the family's.")
    storage = serializers.CharField(
        allow_blank=True, help_text="How its weights are kept in memory: fp8, int8, nf4; empty: whole."
    )
    parameters = serializers.IntegerField()
    memory = serializers.IntegerField(help_text="Bytes of its weights at half precision.")
    available = serializers.BooleanField(help_text="A job can use it without a download.")
    loaded = serializers.BooleanField(help_text="In a worker's memory.")
    note = serializers.CharField(allow_blank=True)
    adapters = serializers.ListField(
        child=serializers.CharField(),
        help_text=f"Ids of the LoRAs that fit it; of the library's the first {MOST_ADAPTERS}, `?kind=lora&family=…` lists all.",
    )
    size = serializers.IntegerField(allow_null=True, help_text="Bytes of its file in the library.")
    file_name = serializers.CharField(allow_null=True, help_text="In the library. Requests may use it in place of the id.")
    path = serializers.CharField(allow_null=True, help_text="In the library; for staff keys.")
    usable = serializers.BooleanField()
    reason = serializers.CharField(allow_blank=True, help_text="Why it can't be used.")
    precision = serializers.CharField(allow_blank=True)
    few_step = serializers.CharField(allow_blank=True, help_text="lcm, lightning, hyper or turbo.")
    trigger_words = serializers.ListField(child=serializers.CharField())
    hashes = HashesSerializer(allow_null=True)
    preview_url = serializers.CharField(allow_null=True)


class ReadyQuerySerializer(StrictSerializer):
    without_worker = serializers.BooleanField(
        default=False, help_text="Whether it is ready while no worker is alive, too: jobs are accepted, and wait for one."
    )


class ModelQuerySerializer(StrictSerializer):
    kind = serializers.ChoiceField(
        choices=MODEL_LIST_KINDS, required=False, help_text="Default: all that are no file of another kind."
    )
    family = serializers.CharField(max_length=40, required=False)
    q = serializers.CharField(max_length=200, required=False, help_text="A part of the id, the name or the file's name.")
    limit = serializers.IntegerField(
        min_value=1, max_value=10_000, default=1000, help_text="X-Total-Count has the number of all."
    )


class ModelCommandSerializer(JobRequest):
    """The model is named by the address; whoever names it here too, as a job's params do, must mean the same."""

    # `context` has the spec's class and the address's `model_id`.
    spec = ModelSpec

    def validate_worker(self, value: str) -> str:
        value = value if value == ALL_WORKERS else read_uuid(value)
        workers = {str(worker.pk): worker for worker in live_workers()}
        able = {pk for pk, worker in workers.items() if self.context["spec"].kind in worker.kinds}
        if value == ALL_WORKERS and not able:
            raise serializers.ValidationError("No worker that loads models is alive.")
        if value != ALL_WORKERS and value not in workers:
            raise serializers.ValidationError(
                f"No worker that is alive has this id; /api/status/ lists them, `{ALL_WORKERS}` means each."
            )
        if value != ALL_WORKERS and draining_ids([workers[value]]):
            raise serializers.ValidationError("This worker is being taken out of work; it takes no more jobs.")
        if value != ALL_WORKERS and value not in able:
            raise serializers.ValidationError("This worker loads no models.")
        return value

    def resolve(self) -> Submission:
        model_id, worker = find_model_id(self.context["model_id"]), self.validated_data.get("worker")
        named = self.validated_data.get("model_id", model_id)
        if find_model_id(named) != model_id:
            raise ValidationError({"model_id": [f"The address is of {model_id}."]}, code="another_model")
        spec = self.context["spec"](model_id=model_id, worker=worker)
        return Submission(spec, only_worker_id=uuid.UUID(worker) if worker and worker != ALL_WORKERS else None)


def read_uuid(text: str) -> str:
    """In the form in which ids are compared."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise serializers.ValidationError(f"Must be a worker's id, or `{ALL_WORKERS}`.") from None


def find_model_id(asked: str) -> str:
    """The catalog's id for what the address names; DarkroomError: 400 for no id, 404 with the nearest ids for an unknown id."""
    if not (is_model_id(asked) or (settings.LIBRARY_DIRS and is_entry_name(asked))):
        raise DarkroomError(
            "invalid_model_id", 400, "A model's id is one to three segments of letters, digits, '_', '.' and '-'."
        )
    try:
        return get_catalog().get(asked).id
    except UnknownModel as error:
        raise DarkroomError("unknown_model", 404, str(error)) from None
