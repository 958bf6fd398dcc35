from django.contrib.admin.apps import AdminConfig


class DarkroomAdminConfig(AdminConfig):
    """django.contrib.admin with a site of our own."""

    default_site = "api.system.admin_site.DarkroomSite"
