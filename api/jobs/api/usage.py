"""What keys have used, over HTTP."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.models import ApiKey
from api.access.scopes import Principal
from api.errors import DarkroomError
from api.jobs.usage_report import MOST_KEYS, OwnerUse, unrevoked_after, use_of_keys, use_of_owner
from api.strict import StrictSerializer

ALL = "all"


class UsageQuerySerializer(StrictSerializer):
    key = serializers.CharField(
        required=False,
        max_length=64,
        help_text=f"For staff keys: the prefix of a key (the part of its token before the secret), or `{ALL}`. Default: the caller's own.",
    )
    after = serializers.CharField(
        required=False,
        max_length=64,
        help_text=f"With `{ALL}`: the keys after this one, of which {MOST_KEYS} are told at once.",
    )


class AmountSerializer(serializers.Serializer[Any]):
    jobs = serializers.IntegerField()
    pictures = serializers.IntegerField()
    pixels = serializers.IntegerField()
    bytes = serializers.IntegerField()


class QuotaSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(source="quota.name")
    limit = serializers.IntegerField(source="quota.limit")
    used = serializers.IntegerField(source="use.used")
    reserved = serializers.IntegerField(source="use.reserved", help_text="By jobs under way.")
    remaining = serializers.IntegerField()
    free_at = serializers.DateTimeField(help_text="When it begins anew, in UTC; null for what is kept.", allow_null=True)


class UsageSerializer(serializers.Serializer[OwnerUse]):
    """Jobs count when they are submitted, unless they fail or are cancelled; pictures, their pixels and bytes when they are made."""

    key = serializers.CharField(source="owner_key")
    name = serializers.CharField(source="key.name", default="")
    today = serializers.SerializerMethodField()
    this_month = serializers.SerializerMethodField()
    reserved = AmountSerializer(help_text="What jobs under way are expected to use.")
    stored_bytes = serializers.IntegerField(
        source="stored", allow_null=True, help_text="Of pictures and uploads; null in a list, for keys without a quota of it."
    )
    quotas = QuotaSerializer(many=True)

    @extend_schema_field(AmountSerializer)
    def get_today(self, use: OwnerUse) -> dict[str, int]:
        return use.used_in("day")

    @extend_schema_field(AmountSerializer)
    def get_this_month(self, use: OwnerUse) -> dict[str, int]:
        return use.used_in("month")


class UsageListSerializer(serializers.Serializer[Any]):
    results = UsageSerializer(many=True)


class UsageView(APIView):
    """What a key has used, and what its limits leave.

    The caller's own by default; staff keys also see others.
    """

    query_parameters: ClassVar[dict[str, tuple[str, ...]]] = {"get": ("key", "after")}

    @extend_schema(operation_id="usage", parameters=[UsageQuerySerializer], responses=UsageListSerializer)
    def get(self, request: Request) -> Response:
        query = UsageQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        found = use_asked_for(cast(Principal, request.auth), **query.validated_data)
        return Response(UsageListSerializer({"results": found}).data)


def use_asked_for(principal: Principal, key: str = "", after: str = "") -> list[OwnerUse]:
    """Raises DarkroomError: another's key for who is no staff (403), one that nobody has (400)."""
    if key in ("", principal.owner_key):
        return [use_of_owner(principal.owner_key)]
    if not principal.is_staff:
        raise DarkroomError("permission_denied", 403, "Only keys with the scope 'staff' see what other keys have used.")
    if key == ALL:
        return use_of_keys(unrevoked_after(after))
    if not ApiKey.objects.filter(prefix=key).exists():
        raise DarkroomError("unknown_key", 400, "There is no key with this prefix.", field="key")
    return [use_of_owner(key)]
