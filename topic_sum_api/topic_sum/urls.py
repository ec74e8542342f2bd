"""Every address that the API answers."""

from django.urls import include, path

from topic_sum.api import exceptions
from topic_sum.api.health import live, ready
from topic_sum.web.views import page

urlpatterns = [
    path("", page, name="page"),
    path("health/live", live, name="live"),
    path("health/ready", ready, name="ready"),
    path("api/", include("topic_sum.api.urls")),
]

handler400 = exceptions.bad_request
handler403 = exceptions.forbidden
handler404 = exceptions.not_found
handler500 = exceptions.server_error
