"""Translation between Anthropic's messages and OpenAI's chats, for text, pictures and tools."""
