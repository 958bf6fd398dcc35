from django.apps import AppConfig


class DialectsConfig(AppConfig):
    name = "api.dialects"
    label = "dialects"
    verbose_name = "Other servers' APIs"

    def ready(self) -> None:
        from api.dialects import older
        from api.dialects.a1111 import errors as a1111
        from api.dialects.huggingface import errors as huggingface
        from api.dialects.mcp import errors as mcp
        from api.dialects.openai import errors
        from api.problems import register_form

        for prefix in a1111.PREFIXES:
            register_form(prefix, a1111.render_error)
        for prefix in errors.PREFIXES:
            register_form(prefix, errors.render_error)
        register_form(huggingface.PREFIX, huggingface.render_error)
        register_form(mcp.PREFIX, mcp.render_error)
        for prefix in older.PREFIXES:
            register_form(prefix, older.detail_alone)
