from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "api.chat"
    label = "chat"
    verbose_name = "Chats"

    def ready(self) -> None:
        from api.chat import signals  # noqa: F401  (its receivers register themselves)
        from api.chat.completions.handler import CompletionKind
        from api.chat.handler import ChatKind
        from api.jobs import kinds

        kinds.register(ChatKind())
        kinds.register(CompletionKind())
