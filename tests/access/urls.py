"""Views for the tests of the access rules: one with the defaults, one for staff, one for everybody."""

from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.permissions import IsStaff


class WhoAmI(APIView):
    def get(self, request: Request) -> Response:
        return Response({"owner_key": request.auth.owner_key})

    post = get


class ForStaff(WhoAmI):
    permission_classes = [IsStaff]


class ForEverybody(APIView):
    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        return Response({"known": request.auth is not None})


urlpatterns = [path("who/", WhoAmI.as_view()), path("staff/", ForStaff.as_view()), path("open/", ForEverybody.as_view())]
