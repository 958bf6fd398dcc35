"""The tools, in the order in which they are listed."""

from api.dialects.mcp.tools.base import Tool
from api.dialects.mcp.tools.history import FindInHistory
from api.dialects.mcp.tools.layout import JudgeLayout
from api.dialects.mcp.tools.looking import LookAtPicture
from api.dialects.mcp.tools.making import EditPicture, MakePicture

TOOLS: dict[str, Tool] = {
    tool.name: tool for tool in (MakePicture(), EditPicture(), LookAtPicture(), JudgeLayout(), FindInHistory())
}
