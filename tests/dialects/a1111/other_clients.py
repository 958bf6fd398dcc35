"""The calls of two clients that are no libraries, in their order and byte for byte (their sources of 2026-11)."""

import base64
import time
from dataclasses import dataclass, field
from typing import Any

import httpx


def basic_header(auth: str) -> str:
    return f"Basic {base64.b64encode(auth.encode()).decode()}"


@dataclass
class OpenWebUI:
    """Its image settings with the engine `automatic1111`. `auth`: `user:password`, or None where the field is empty."""

    url: str
    auth: str | None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=120))

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": "" if self.auth is None else basic_header(self.auth)}

    def verify(self) -> bool:
        return self.client.get(f"{self.url}/sdapi/v1/options", headers=self.headers).is_success

    def models(self) -> list[dict[str, str]]:
        listed = self.client.get(f"{self.url}/sdapi/v1/sd-models", headers=self.headers).json()
        return [{"id": model["title"], "name": model["model_name"]} for model in listed]

    def get_model(self) -> str:
        return str(self.client.get(f"{self.url}/sdapi/v1/options", headers=self.headers).json()["sd_model_checkpoint"])

    def set_model(self, model: str) -> None:
        """The whole dict goes back."""
        options = self.client.get(f"{self.url}/sdapi/v1/options", headers=self.headers).json()
        if model != options["sd_model_checkpoint"]:
            options["sd_model_checkpoint"] = model
            self.client.post(f"{self.url}/sdapi/v1/options", json=options, headers=self.headers).raise_for_status()

    def generate(self, prompt: str, **more: Any) -> Any:
        data = {"prompt": prompt, "batch_size": 1, "width": 64, "height": 64, **more}
        return self.client.post(f"{self.url}/sdapi/v1/txt2img", json=data, headers=self.headers).json()


@dataclass
class SillyTavern:
    """Its server's part of the image generation extension, with the source `auto`."""

    url: str
    auth: str
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=120))

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"{self.url}/sdapi/v1/{path}", headers={"Authorization": basic_header(self.auth)})

    def post(self, path: str, body: Any = None) -> httpx.Response:
        headers = {"Content-Type": "application/json", "Authorization": basic_header(self.auth)}
        if body is None:  # interrupt goes without a body, and without its type
            return self.client.post(f"{self.url}/sdapi/v1/{path}", headers={"Authorization": headers["Authorization"]})
        return self.client.post(f"{self.url}/sdapi/v1/{path}", json=body, headers=headers)

    def ping(self) -> bool:
        return self.get("options").is_success

    def upscalers(self) -> list[str]:
        names, latent = ([one["name"] for one in self.get(path).json()] for path in ("upscalers", "latent-upscale-modes"))
        return [*names[:1], *latent, *names[1:]]

    def vaes(self) -> list[str]:
        replies = [self.get("sd-vae"), self.get("sd-modules")]
        return [one["model_name"] for one in next(reply.json() for reply in replies if reply.is_success)]

    def names(self, path: str) -> list[str]:
        return [one["name"] for one in self.get(path).json()]

    def models(self) -> list[str]:
        return [one["title"] for one in self.get("sd-models").json()]

    def get_model(self) -> str:
        return str(self.get("options").json()["sd_model_checkpoint"])

    def set_model(self, model: str) -> int:
        """How often it asked until the server was idle again."""
        assert self.post("options", {"sd_model_checkpoint": model}).is_success
        for attempt in range(1, 11):
            told = self.get("progress").json()
            if told["progress"] == 0 and told["state"]["job_count"] == 0:
                return attempt
            time.sleep(0.2)  # 2 s there
        raise AssertionError("The server was never idle.")

    def body(self, prompt: str, **more: Any) -> dict[str, Any]:
        """As its page makes it: what is undefined there is left out."""
        return {
            "url": self.url,
            "auth": self.auth,
            "prompt": prompt,
            "negative_prompt": "blurry",
            "sampler_name": "Euler a",
            "scheduler": "automatic",
            "steps": 2,
            "cfg_scale": 7,
            "width": 64,
            "height": 64,
            "restore_faces": False,
            "enable_hr": False,
            "hr_upscaler": "Latent",
            "hr_scale": 1,
            "hr_additional_modules": [],
            "denoising_strength": 0.7,
            "hr_second_pass_steps": 0,
            "override_settings": {"CLIP_stop_at_last_layers": 1},
            "override_settings_restore_afterwards": True,
            "clip_skip": 1,
            "save_images": True,
            "send_images": True,
            "do_not_save_grid": False,
            "do_not_save_samples": False,
            **more,
        }

    def generate(self, prompt: str, **more: Any) -> Any:
        assert "forge_preset" not in self.get("options").json()
        reply = self.post("txt2img", self.body(prompt, **more))
        assert reply.is_success, reply.text
        return reply.json()
