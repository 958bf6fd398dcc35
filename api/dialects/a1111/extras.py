"""`POST /sdapi/v1/extra-single-image` and `extra-batch-images`: pictures that are enlarged, each by a job of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from api.dialects.a1111.base import A1111Dialect
from api.dialects.a1111.errors import BAD_PICTURE, RequestRefused, renamed
from api.dialects.a1111.upscalers import NONE, find_upscaler, label_of
from api.errors import DarkroomError
from api.files.decoding import encode_png
from api.files.errors import InvalidImage
from api.files.models import StoredFile
from api.files.services import read_file, resolve_image
from api.images.upscaling.serializers import UpscaleSerializer
from api.images.upscaling.spec import LARGEST_SIDE
from api.jobs.api.dialect import Accepted
from api.jobs.api.submission import Submission, submit
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.json_types import JsonObject
from api.strict import FiniteFloatField
