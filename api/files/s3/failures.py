"""What botocore raises, as the errors that the rest of Darkroom knows, with sentences for whoever set the server up."""

import errno
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)

from api.outages import StorageRefused

NOT_FOUND = {"404", "NoSuchKey", "NotFound"}
FULL = {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
OTHER_REGION = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
SENTENCES = {
    "NoSuchBucket": "There is no such bucket. Create it, or correct bucket_name",
    "InvalidBucketName": "bucket_name is not a name that a bucket can have. Correct bucket_name",
    "InvalidAccessKeyId": "The access key is not known there. Correct access_key, or AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key. Correct secret_key, or AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "The temporary credentials have expired. Give new ones",
    "RequestTimeTooSkewed": "This machine's clock differs from the storage's. Set the clock (NTP)",
    "InvalidToken": "The session token is not valid. Correct security_token, or AWS_SESSION_TOKEN",
}
DENIED = "Access is denied. Allow the key s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket for this bucket"
WRONG_REGION = "The bucket is in another region. Correct region_name"
WRONG_REQUEST = "The storage refuses the request as wrong (400). Check the credentials, endpoint_url and region_name"
CURES: list[tuple[Any, str]] = [
    (
        NoCredentialsError | PartialCredentialsError | ProfileNotFound,
        "Set access_key and secret_key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
    ),
    (NoRegionError | InvalidRegionError, "Correct region_name"),
    (SSLError, "Correct endpoint_url, or let `verify` name the file of the authority's certificate"),
]
Function = TypeVar("Function", bound=Callable[..., Any])


def translated(method: Function) -> Function:
    """FileNotFoundError for an object that is not there, StorageRefused, or OSError for a storage that does not answer."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.rest.may_ask():
            raise OSError(errno.ENOTCONN, f"The storage of pictures ({self.place}) did not answer a moment ago.")
        try:
            result = method(self, *args, **kwargs)
        except (ClientError, BotoCoreError) as error:
            translated = as_os_error(error, self.place)
            self.rest.record(answered=translated.errno != errno.ENOTCONN)
            raise translated from error
        self.rest.record(answered=True)
        return result

    return call  # type: ignore[return-value]


def as_os_error(error: Exception, place: str) -> OSError:
    if is_missing(error):
        return FileNotFoundError(errno.ENOENT, "There is no such object.")
    if is_full(error):
        return OSError(errno.ENOSPC, f"The storage of pictures ({place}) is full.")
    if reason := why_refused(error):
        return StorageRefused(f"The storage of pictures ({place}) can't be used: {reason}.")
    return OSError(errno.ENOTCONN, f"The storage of pictures ({place}) does not answer: {one_line(error)}.")


def is_missing(error: Exception) -> bool:
    return isinstance(error, ClientError) and code_of(error) in NOT_FOUND


def is_full(error: Exception) -> bool:
    """AWS has no end; MinIO, Ceph and others say it so."""
    return isinstance(error, ClientError) and (code_of(error) in FULL or status_of(error) == 507)


def why_refused(error: Exception) -> str:
    """What is wrong with the settings or the bucket, with its cure; '' for what may be better in a moment."""
    if isinstance(error, ClientError):
        return why_answered_so(error)
    if isinstance(error, ParamValidationError):
        return SENTENCES["InvalidBucketName"]
    cure = next((cure for kinds, cure in CURES if isinstance(error, kinds)), "")
    return f"{one_line(error)}. {cure}" if cure else ""


def why_answered_so(error: ClientError) -> str:
    code, status = code_of(error), status_of(error)
    if code in OTHER_REGION or status == 301:
        return WRONG_REGION
    if code in SENTENCES:
        return SENTENCES[code]
    if status in (401, 403):
        return DENIED
    return WRONG_REQUEST if status == 400 and code != "RequestTimeout" else ""


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200]
