"""Small models of the families that call tools. Their templates write tools, calls and results as the published ones do, in short."""

from pathlib import Path

from tokenizers import AddedToken
from transformers import LlamaForCausalLM

from tests.models.tiny_chat import SPECIAL, make_tokenizer, save, text_config

TURNS = "{% for m in messages %}"
END = "{% endfor %}"
HERMES = (
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}# Tools\n<tools>"
    '{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\nAnswer with <tool_call>\n{"name": <name>, "arguments": <object>}\n'
    "</tool_call><|im_end|>\n{% endif %}"
    + TURNS
    + "{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n"
    "</tool_response><|im_end|>\n{% elif not (tools and m.role == 'system') %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    '{% for call in m.tool_calls %}\n<tool_call>\n{"name": "{{ call.function.name }}", "arguments": '
    "{{ call.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endif %}" + END + "<|im_start|>assistant\n"
)
LLAMA = (
    '<|im_start|>system\n{% if tools is not none %}Environment: ipython\nRespond in the format {"name": function name, "parameters": '
    "dictionary}.\n{% for t in tools %}{{ t | tojson(indent=4) }}\n\n{% endfor %}{% endif %}<|im_end|>\n"
    + TURNS
    + "{% if 'tool_calls' in m %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}"
    '<|im_start|>assistant\n{"name": "{{ m.tool_calls[0].function.name }}", "parameters": '
    "{{ m.tool_calls[0].function.arguments | tojson }}}<|im_end|>\n{% elif m.role == 'tool' %}<|im_start|>ipython\n"
    "{{ {'output': m.content} | tojson }}<|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}"
    + END
    + "<|im_start|>assistant\n"
)
MISTRAL = (
    TURNS
    + "{% if m.role == 'user' %}{% if tools and loop.last %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST]{{ m.content }}[/INST]{% elif m.tool_calls is defined %}[TOOL_CALLS] [{% for call in m.tool_calls %}"
    "{% if call.id | length < 9 %}{{ raise_exception('Tool call IDs should be alphanumeric strings with length >= 9!') }}{% endif %}"
    '{{ (call.function | tojson)[:-1] }}, "id": "{{ call.id[-9:] }}"}{{ \', \' if not loop.last }}{% endfor %}]<|im_end|>'
    '{% elif m.role == \'tool\' %}[TOOL_RESULTS] {"content": {{ m.content }}, "call_id": "{{ m.tool_call_id[-9:] }}"}[/TOOL_RESULTS]'
    "{% elif m.role == 'assistant' %}{{ m.content }}<|im_end|>{% else %}{{ raise_exception('no system here') }}{% endif %}"
    + END
)
PHI = (
    "{% if tools %}<|system|>{% for tool in tools %}<|tool|>{{ tool.function | tojson }}<|/tool|>{% endfor %}<|end|>{% endif %}"
    + TURNS
    + "{% if m.role == 'tool' %}<|tool_response|>{{ m.content | tojson }}<|end|>{% else %}<|{{ m.role }}|>{{ m.content }}"
    "{% for call in m.tool_calls %}<|tool_call|>{{ call.function | tojson }}<|/tool_call|>{% endfor %}<|end|>{% endif %}"
    + END
    + "<|assistant|>"
)
GEMMA = (
    "{% if tools %}<start_of_turn>developer\n{% for tool in tools %}<start_function_declaration>declaration:{{ tool.function.name }}"
    "<end_function_declaration>{% endfor %}<end_of_turn>\n{% endif %}" + TURNS + "<start_of_turn>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls %}<start_function_call>call:{{ call.function.name }}{{ '{' }}"
    "{% for key, value in call.function.arguments.items() %}{{ key }}:<escape>{{ value }}<escape>{{ ',' if not loop.last }}{% endfor %}"
    "}<end_function_call>{% endfor %}<end_of_turn>\n" + END + "<start_of_turn>model\n"
)
NO_SYSTEM = (
    TURNS + "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n" + END + "<start_of_turn>model\n"
)
TEMPLATES = {"hermes": HERMES, "llama": LLAMA, "mistral": MISTRAL, "phi": PHI, "gemma": GEMMA, "no system": NO_SYSTEM}
ADDED = {
    "hermes": [("<tool_call>", False), ("</tool_call>", False)],
    "llama": [("<|python_tag|>", True)],
    "mistral": [("[TOOL_CALLS]", True), ("[INST]", True), ("[/INST]", True)],
    "phi": [("<|tool_call|>", False), ("<|/tool_call|>", False)],
    "gemma": [("<start_function_call>", False), ("<end_function_call>", False), ("<escape>", False)],
    "no system": [],
}
"""Marks that are tokens of their own, and whether those are special, as in the published tokenizers."""


def build_family(folder: Path, family: str) -> Path:
    tokenizer = make_tokenizer(SPECIAL[:3])
    tokenizer.add_tokens([AddedToken(text, special=special, normalized=False) for text, special in ADDED[family]])
    tokenizer.chat_template = TEMPLATES[family]
    config = text_config(tokenizer)
    config.max_position_embeddings = 4096
    save(LlamaForCausalLM(config), folder, tokenizer, end="<|im_end|>")
    tokenizer.save_pretrained(folder)
    return folder
