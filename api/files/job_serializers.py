"""The serializer of a request that may name pictures, and needs no more than its spec."""

from typing import ClassVar

from api.files.fields import by_content, by_id
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.specs import Spec


class FileJobSerializer(JobRequest):
    """`spec` of a subclass is the request. Equal pictures make equal requests, under whatever ids they are kept."""

    spec: ClassVar[type[Spec]]

    def resolve(self) -> Submission:
        """The fingerprint has what was left out as its default, so that saying it makes no other request."""
        data = self.validated_data
        return Submission(self.spec.from_json(by_id(data)), fingerprint=self.spec.from_json(by_content(data)).to_json())
