"""Names as gateways log them, and the price that each has on a Friday noon in November 2026, served by nobody named.

A line a name: the name, the list, the entry in it with its provider, the rule that found it, the status,
the currency, and the price of a million input and output tokens (``-``: none). ``unpriced`` stands for all of
that where no list may have a price. A line that moves is a price that moved: look why before you move it.
"""

from __future__ import annotations

from datetime import UTC, datetime

#: A Friday, outside DeepSeek's peak hours.
MOMENT = round(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 1000

REFERENCE = """
# OpenAI
gpt-4o genai-prices openai/gpt-4o exact priced USD 2.5 10
GPT-4o genai-prices openai/gpt-4o normalised priced USD 2.5 10
gpt-4o-2024-05-13 genai-prices openai/gpt-4o-2024-05-13 exact priced USD 5 15
gpt-4o-2024-08-06 genai-prices openai/gpt-4o exact priced USD 2.5 10
gpt-4o-2024-11-20 genai-prices openai/gpt-4o exact priced USD 2.5 10
gpt-4o-mini genai-prices openai/gpt-4o-mini exact priced USD 0.15 0.6
gpt-4o-mini-2024-07-18 genai-prices openai/gpt-4o-mini exact priced USD 0.15 0.6
openai/gpt-4o-mini genai-prices openai/gpt-4o-mini normalised priced USD 0.15 0.6
gpt-4o-audio-preview genai-prices openai/gpt-4o-audio-preview exact priced USD 2.5 10
gpt-4o-realtime-preview genai-prices openai/gpt-4o-realtime-preview exact priced USD 5 20
gpt-4o-mini-tts genai-prices openai/gpt-4o-mini-tts exact priced USD 0.6 12
gpt-4o-transcribe genai-prices openai/gpt-4o-transcribe exact priced USD 2.5 10
gpt-4o-search-preview genai-prices openai/gpt-4o-search-preview exact priced USD 2.5 10
gpt-4-turbo genai-prices openai/gpt-4-turbo exact priced USD 10 30
gpt-4-turbo-2024-04-09 genai-prices openai/gpt-4-turbo exact priced USD 10 30
gpt-4-1106-preview genai-prices openai/gpt-4-turbo exact priced USD 10 30
gpt-4 genai-prices openai/gpt-4 exact priced USD 30 60
gpt-4-0613 genai-prices openai/gpt-4 exact priced USD 30 60
gpt-4-32k genai-prices openai/gpt-4-32k exact priced USD 60 120
gpt-3.5-turbo genai-prices openai/gpt-3.5-turbo exact priced USD 0.5 1.5
gpt-3.5-turbo-0125 genai-prices openai/gpt-3.5-turbo exact priced USD 0.5 1.5
gpt-35-turbo genai-prices openai/gpt-3.5-turbo exact priced USD 0.5 1.5
gpt-3.5-turbo-16k genai-prices openai/gpt-3.5-turbo-16k exact priced USD 3 4
gpt-4.1 genai-prices openai/gpt-4.1 exact priced USD 2 8
gpt-4.1-2025-04-14 genai-prices openai/gpt-4.1 exact priced USD 2 8
gpt-4.1-mini genai-prices openai/gpt-4.1-mini exact priced USD 0.4 1.6
gpt-4.1-nano genai-prices openai/gpt-4.1-nano exact priced USD 0.1 0.4
gpt-4.5-preview genai-prices openai/gpt-4.5-preview exact priced USD 75 150
o1 genai-prices openai/o1 exact priced USD 15 60
o1-2024-12-17 genai-prices openai/o1 exact priced USD 15 60
o1-mini genai-prices openai/o1-mini exact priced USD 1.1 4.4
o1-preview genai-prices openai/o1-preview exact priced USD 15 60
o1-pro genai-prices openai/o1-pro exact priced USD 150 600
o3 genai-prices openai/o3 exact priced USD 2 8
o3-2025-04-16 genai-prices openai/o3 exact priced USD 2 8
o3-mini genai-prices openai/o3-mini exact priced USD 1.1 4.4
o3-pro genai-prices openai/o3-pro exact priced USD 20 80
o4-mini genai-prices openai/o4-mini exact priced USD 1.1 4.4
gpt-5 genai-prices openai/gpt-5 exact priced USD 1.25 10
gpt-5-2025-08-07 genai-prices openai/gpt-5 exact priced USD 1.25 10
gpt-5-mini genai-prices openai/gpt-5-mini exact priced USD 0.25 2
gpt-5-nano genai-prices openai/gpt-5-nano exact priced USD 0.05 0.4
gpt-5-pro genai-prices openai/gpt-5-pro exact priced USD 15 120
gpt-5-codex genai-prices openai/gpt-5 exact priced USD 1.25 10
gpt-5-chat-latest genai-prices openai/gpt-5 exact priced USD 1.25 10
gpt-5.1 genai-prices openai/gpt-5.1 exact priced USD 1.25 10
gpt-5.1-codex genai-prices openai/gpt-5.1 exact priced USD 1.25 10
gpt-5.2 genai-prices openai/gpt-5.2 exact priced USD 1.75 14
gpt-5.4 genai-prices openai/gpt-5.4 exact priced USD 2.5 15
gpt-5.4-mini genai-prices openai/gpt-5.4-mini exact priced USD 0.75 4.5
gpt-5.5 genai-prices openai/gpt-5.5 exact priced USD 5 30
chatgpt-4o-latest genai-prices openai/chatgpt-4o-latest exact priced USD 5 15
codex-mini-latest genai-prices openai/codex-mini exact priced USD 1.5 6
text-embedding-3-small genai-prices openai/text-embedding-3-small exact priced USD 0.02 -
text-embedding-3-large genai-prices openai/text-embedding-3-large exact priced USD 0.13 -
text-embedding-ada-002 genai-prices openai/text-embedding-ada-002 exact priced USD 0.1 -
azure/gpt-4o genai-prices azure/gpt-4o normalised priced USD 2.5 10
azure/gpt-4o-mini genai-prices azure/gpt-4o-mini normalised priced USD 0.15 0.6
azure/gpt-4.1 genai-prices azure/gpt-4.1 normalised priced USD 2 8
azure/gpt-5 genai-prices azure/gpt-5 normalised priced USD 1.25 10
azure/o3-mini genai-prices azure/o3-mini normalised priced USD 1.1 4.4
azure/gpt-35-turbo genai-prices azure/gpt-3.5-turbo normalised priced USD 0.5 1.5
# Claude
claude-3-5-sonnet-20240620 genai-prices anthropic/claude-3-5-sonnet date_stripped priced USD 3 15
claude-3-5-sonnet-20241022 genai-prices anthropic/claude-3-5-sonnet date_stripped priced USD 3 15
claude-3-5-sonnet-latest genai-prices anthropic/claude-3-5-sonnet normalised priced USD 3 15
claude-3-5-haiku-20241022 genai-prices anthropic/claude-3-5-haiku-latest date_stripped priced USD 0.8 4
claude-3-7-sonnet-20250219 genai-prices anthropic/claude-3-7-sonnet-latest date_stripped priced USD 3 15
claude-3-7-sonnet-latest genai-prices anthropic/claude-3-7-sonnet-latest exact priced USD 3 15
claude-3-opus-20240229 genai-prices anthropic/claude-3-opus-latest date_stripped priced USD 15 75
claude-3-haiku-20240307 genai-prices anthropic/claude-3-haiku date_stripped priced USD 0.25 1.25
claude-sonnet-4-20250514 genai-prices anthropic/claude-sonnet-4-0 date_stripped priced USD 3 15
claude-sonnet-4@20250514 genai-prices anthropic/claude-sonnet-4-0 date_stripped priced USD 3 15
claude-opus-4-20250514 genai-prices anthropic/claude-opus-4-0 exact priced USD 15 75
claude-opus-4-1-20250805 genai-prices anthropic/claude-opus-4-1 date_stripped priced USD 15 75
claude-sonnet-4.5 genai-prices anthropic/claude-sonnet-4-5 exact priced USD 3 15
claude-sonnet-4-5-20250929 genai-prices anthropic/claude-sonnet-4-5 date_stripped priced USD 3 15
anthropic/claude-sonnet-4.5 genai-prices anthropic/claude-sonnet-4-5 normalised priced USD 3 15
claude-opus-4-5 genai-prices anthropic/claude-opus-4-5 exact priced USD 5 25
claude-opus-4-5-20251101 genai-prices anthropic/claude-opus-4-5 date_stripped priced USD 5 25
claude-haiku-4-5 genai-prices anthropic/claude-haiku-4-5 exact priced USD 1 5
claude-haiku-4-5-20251001 genai-prices anthropic/claude-haiku-4-5 date_stripped priced USD 1 5
claude-opus-4-6 genai-prices anthropic/claude-opus-4-6 exact priced USD 5 25
claude-sonnet-4-6 genai-prices anthropic/claude-sonnet-4-6 exact priced USD 3 15
claude-opus-4.6 genai-prices anthropic/claude-opus-4-6 exact priced USD 5 25
us.anthropic.claude-sonnet-4-20250514-v1:0 genai-prices aws/regional.anthropic.claude-sonnet-4-20250514-v1:0 normalised priced USD 3 15
us.anthropic.claude-sonnet-4-5-20250929-v1:0 genai-prices aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0 normalised priced USD 3.3 16.5
eu.anthropic.claude-3-7-sonnet-20250219-v1:0 genai-prices aws/regional.anthropic.claude-3-7-sonnet-20250219-v1:0 normalised priced USD 3 15
global.anthropic.claude-opus-4-5-20251101-v1:0 genai-prices aws/global.anthropic.claude-opus-4-5-v1:0 normalised priced USD 5 25
anthropic.claude-3-5-sonnet-20241022-v2:0 genai-prices aws/regional.anthropic.claude-3-5-sonnet-20241022-v2:0 normalised priced USD 3 15
anthropic.claude-3-haiku-20240307-v1:0 genai-prices aws/regional.anthropic.claude-3-haiku-20240307-v1:0 normalised priced USD 0.25 1.25
bedrock/us.anthropic.claude-3-haiku-20240307-v1:0 genai-prices aws/regional.anthropic.claude-3-haiku-20240307-v1:0 normalised priced USD 0.25 1.25
bedrock/anthropic.claude-opus-4-1-20250805-v1:0 genai-prices aws/regional.anthropic.claude-opus-4-1-20250805-v1:0 normalised priced USD 15 75
vertex_ai/claude-sonnet-4@20250514 genai-prices google/claude-4-sonnet date_stripped priced USD 3 15
vertex_ai/claude-opus-4-5@20251101 genai-prices google/claude-opus-4-5 date_stripped priced USD 5 25
amazon.nova-pro-v1:0 genai-prices aws/amazon.nova-pro-v1:0 exact priced USD 0.8 3.2
us.amazon.nova-lite-v1:0 genai-prices aws/amazon.nova-lite-v1:0 normalised priced USD 0.06 0.24
us.meta.llama3-3-70b-instruct-v1:0 genai-prices aws/meta.llama3-3-70b-instruct-v1:0 normalised priced USD 0.72 0.72
# Gemini
gemini-2.5-pro genai-prices google/gemini-2.5-pro exact priced USD 1.25 10
models/gemini-2.5-pro genai-prices google/gemini-2.5-pro normalised priced USD 1.25 10
google/gemini-2.5-pro genai-prices google/gemini-2.5-pro normalised priced USD 1.25 10
gemini/gemini-2.5-pro genai-prices google/gemini-2.5-pro normalised priced USD 1.25 10
vertex_ai/gemini-2.5-pro genai-prices google/gemini-2.5-pro normalised priced USD 1.25 10
gemini-2.5-pro-preview-06-05 genai-prices google/gemini-2.5-pro normalised priced USD 1.25 10
gemini-2.5-flash genai-prices google/gemini-2.5-flash exact priced USD 0.3 2.5
gemini-2.5-flash-preview-09-2025 genai-prices google/gemini-2.5-flash exact priced USD 0.3 2.5
gemini-2.5-flash-lite genai-prices google/gemini-2.5-flash-lite exact priced USD 0.1 0.4
gemini-2.5-flash-image genai-prices google/gemini-2.5-flash-image exact priced USD 0.3 2.5
gemini-2.0-flash genai-prices google/gemini-2.0-flash exact priced USD 0.1 0.4
gemini-2.0-flash-001 genai-prices google/gemini-2.0-flash normalised priced USD 0.1 0.4
gemini-2.0-flash-lite genai-prices google/gemini-2.0-flash-lite exact priced USD 0.075 0.3
gemini-1.5-pro genai-prices google/gemini-1.5-pro exact priced USD 1.25 5
gemini-1.5-pro-002 genai-prices google/gemini-1.5-pro normalised priced USD 1.25 5
gemini-1.5-flash genai-prices google/gemini-1.5-flash exact priced USD 0.075 0.3
gemini-3-pro-preview genai-prices google/gemini-3-pro-preview exact priced USD 2 12
gemini-3-flash-preview genai-prices google/gemini-3-flash-preview exact priced USD 0.5 3
gemini-embedding-001 genai-prices google/gemini-embedding-001 exact priced USD 0.15 -
# Grok, Mistral, Cohere, Perplexity, Voyage
grok-2-1212 genai-prices x-ai/grok-2-1212 exact priced USD 2 10
grok-3 genai-prices x-ai/grok-3 exact priced USD 3 15
grok-3-mini genai-prices x-ai/grok-3-mini exact priced USD 0.3 0.5
grok-4 genai-prices x-ai/grok-4-0709 exact priced USD 3 15
grok-4-0709 genai-prices x-ai/grok-4-0709 exact priced USD 3 15
grok-4-fast-reasoning genai-prices x-ai/grok-4-fast-reasoning exact priced USD 0.2 0.5
xai/grok-4 genai-prices x-ai/grok-4-0709 normalised priced USD 3 15
x-ai/grok-4 genai-prices x-ai/grok-4-0709 normalised priced USD 3 15
grok-code-fast-1 genai-prices x-ai/grok-code-fast-1 exact priced USD 0.2 1.5
mistral-large-latest built-in mistral/mistral-large-latest exact priced USD 0.5 1.5
mistral-large-2512 genai-prices mistral/mistral-large-2512 exact priced USD 0.5 1.5
mistral-large-2411 genai-prices mistral/mistral-large exact priced USD 2 6
mistral-medium-latest genai-prices mistral/mistral-medium-latest exact priced USD 1.5 7.5
mistral-small-latest genai-prices mistral/mistral-small-latest exact priced USD 0.15 0.6
mistral/mistral-small-latest genai-prices mistral/mistral-small-latest normalised priced USD 0.15 0.6
codestral-latest genai-prices mistral/codestral exact priced USD 0.3 0.9
open-mistral-nemo genai-prices mistral/mistral-nemo exact priced USD 0.15 0.15
ministral-8b-latest genai-prices mistral/ministral-8b-latest exact priced USD 0.15 0.15
pixtral-large-latest genai-prices mistral/pixtral-large exact priced USD 2 6
command-r-plus genai-prices cohere/command-r-plus exact priced USD 2.5 10
command-a-03-2025 genai-prices cohere/command-a exact priced USD 2.5 10
sonar-pro genai-prices perplexity/sonar-pro exact priced USD 3 15
voyage-3 genai-prices voyageai/voyage-3 exact priced USD 0.06 -
# Llama and others by host
groq/llama-3.3-70b-versatile genai-prices groq/llama-3.3-70b-versatile normalised priced USD 0.59 0.79
groq/llama-3.1-8b-instant genai-prices groq/llama-3.1-8b-instant normalised priced USD 0.05 0.08
together/meta-llama/Llama-3.3-70B-Instruct-Turbo genai-prices together/meta-llama/Llama-3.3-70B-Instruct-Turbo normalised priced USD 0.88 0.88
openrouter/meta-llama/llama-3.3-70b-instruct genai-prices openrouter/meta-llama/llama-3.3-70b-instruct normalised priced USD 0.59 0.79
openrouter/anthropic/claude-sonnet-4.5 genai-prices openrouter/anthropic/claude-sonnet-4.5 normalised priced USD 3 15
openrouter/qwen/qwen3-coder genai-prices openrouter/qwen/qwen3-coder normalised priced USD 0.3 1
openrouter/meta-llama/llama-3.3-70b-instruct:free genai-prices openrouter/meta-llama/llama-3.3-70b-instruct:free normalised free USD 0 0
fireworks/accounts/fireworks/models/glm-5p1 genai-prices fireworks/glm-5p1 normalised priced USD 1.4 4.4
accounts/fireworks/models/deepseek-v3p2 genai-prices fireworks/deepseek-v3p2 exact priced USD 0.56 1.68
cerebras/llama-3.3-70b genai-prices cerebras/llama-3.3-70b exact priced USD 0.85 1.2
groq/openai/gpt-oss-120b genai-prices groq/openai/gpt-oss-120b normalised priced USD 0.15 0.6
# Qwen / Tongyi
qwen-max built-in alibaba-cn/qwen-max exact estimated CNY 2.4 9.6
Qwen-Max built-in alibaba-cn/qwen-max normalised estimated CNY 2.4 9.6
qwen-max-latest built-in alibaba-cn/qwen-max latest_dropped estimated CNY 2.4 9.6
qwen-max-2025-01-25 built-in alibaba-cn/qwen-max-2025-01-25 exact estimated CNY 2.4 9.6
qwen-plus built-in alibaba-cn/qwen-plus exact estimated CNY 0.8 2
qwen-plus-latest built-in alibaba-cn/qwen-plus latest_dropped estimated CNY 0.8 2
qwen-plus-2025-07-14 built-in alibaba-cn/qwen-plus date_stripped estimated CNY 0.8 2
dashscope/qwen-plus built-in alibaba-cn/qwen-plus normalised estimated CNY 0.8 2
tongyi/qwen-turbo built-in alibaba-cn/qwen-turbo normalised estimated CNY 0.3 0.6
qwen-turbo built-in alibaba-cn/qwen-turbo exact estimated CNY 0.3 0.6
qwen-turbo-latest built-in alibaba-cn/qwen-turbo latest_dropped estimated CNY 0.3 0.6
qwen-long built-in alibaba-cn/qwen-long exact estimated CNY 0.5 2
qwen-flash built-in alibaba-cn/qwen-flash exact estimated CNY 0.15 1.5
qwen3-max built-in alibaba-cn/qwen3-max exact estimated CNY 9 54
qwen3-max-preview built-in alibaba-cn/qwen3-max-preview exact estimated CNY 6 24
qwen3-max-2025-09-23 built-in alibaba-cn/qwen3-max-2025-09-23 exact estimated CNY 3.2 12.8
qwen3-max-2026-01-23 built-in alibaba-cn/qwen3-max-2026-01-23 exact estimated CNY 2.5 10
qwen3.5-plus built-in alibaba-cn/qwen3.5-plus exact estimated CNY 2 12
qwen3.5-flash built-in alibaba-cn/qwen3.5-flash exact estimated CNY 1.2 7.2
qwen3.6-plus built-in alibaba-cn/qwen3.6-plus exact estimated CNY 2 12
qwen3.7-max built-in alibaba-cn/qwen3.7-max exact estimated CNY 12 36
qwen3.8-max built-in alibaba-cn/qwen3.8-max exact estimated CNY 12 36
qwen-vl-max built-in alibaba-cn/qwen-vl-max exact estimated CNY 1.6 4
qwen-vl-plus built-in alibaba-cn/qwen-vl-plus exact estimated CNY 0.8 2
qwen-vl-ocr built-in alibaba-cn/qwen-vl-ocr exact estimated CNY 0.3 0.5
qwen3-vl-plus built-in alibaba-cn/qwen3-vl-plus exact estimated CNY 1 10
qwen3-coder-plus built-in alibaba-cn/qwen3-coder-plus exact estimated CNY 4 16
qwen3-coder-flash built-in alibaba-cn/qwen3-coder-flash exact estimated CNY 1 4
qwen-coder-plus built-in alibaba-cn/qwen-coder-plus exact estimated CNY 3.5 7
qwen-math-plus built-in alibaba-cn/qwen-math-plus exact estimated CNY 4 12
qwen2.5-72b-instruct built-in alibaba-cn/qwen2.5-72b-instruct exact estimated CNY 4 12
qwen2.5-7b-instruct built-in alibaba-cn/qwen2.5-7b-instruct exact estimated CNY 0.5 1
qwen2.5-coder-32b-instruct built-in alibaba-cn/qwen2.5-coder-32b-instruct exact estimated CNY 2 6
qwen3-235b-a22b built-in alibaba-cn/qwen3-235b-a22b exact estimated CNY 2 8
qwen3-32b built-in alibaba-cn/qwen3-32b exact estimated CNY 2 8
qwen3-8b built-in alibaba-cn/qwen3-8b exact estimated CNY 0.5 2
qwen3-235b-a22b-instruct-2507 built-in alibaba-cn/qwen3-235b-a22b-instruct-2507 exact estimated CNY 2 8
qwen3-next-80b-a3b-instruct built-in alibaba-cn/qwen3-next-80b-a3b-instruct exact estimated CNY 1 4
qwq-plus built-in alibaba-cn/qwq-plus exact estimated CNY 1.6 4
qwq-32b built-in alibaba-cn/qwq-32b exact estimated CNY 2 6
qvq-max built-in alibaba-cn/qvq-max exact estimated CNY 8 32
text-embedding-v4 built-in alibaba-cn/text-embedding-v4 exact estimated CNY 0.5 -
text-embedding-v3 built-in alibaba-cn/text-embedding-v3 exact estimated CNY 0.5 -
gte-rerank-v2 built-in alibaba-cn/gte-rerank-v2 exact estimated CNY 0.8 -
qwen3-rerank built-in alibaba-cn/qwen3-rerank exact estimated CNY 0.5 -
# GLM
glm-4 built-in zhipu/glm-4 exact estimated CNY 100 100
glm-4-flash built-in zhipu/glm-4-flash exact free CNY 0 0
glm-4-flash-250414 built-in zhipu/glm-4-flash-250414 exact free CNY 0 0
glm-4.5-flash built-in zhipu/glm-4.5-flash exact free CNY 0 0
glm-4-plus built-in zhipu/glm-4-plus exact estimated CNY 5 5
glm-4-air built-in zhipu/glm-4-air exact estimated CNY 0.5 0.5
glm-4-airx built-in zhipu/glm-4-airx exact estimated CNY 10 10
glm-4-long built-in zhipu/glm-4-long exact estimated CNY 1 1
glm-4v built-in zhipu/glm-4v exact estimated CNY 50 50
glm-4.5 built-in zhipu/glm-4.5 exact estimated CNY 2 8
GLM-4.5 built-in zhipu/glm-4.5 normalised estimated CNY 2 8
glm-4.5-air built-in zhipu/glm-4.5-air exact estimated CNY 0.8 2
glm-4.5v built-in zhipu/glm-4.5v exact estimated CNY 2 6
glm-4.6 built-in zhipu/glm-4.6 exact estimated CNY 2 8
GLM-4.6 built-in zhipu/glm-4.6 normalised estimated CNY 2 8
glm-4.7 built-in zhipu/glm-4.7 exact estimated CNY 2 8
zhipu/glm-4.7 built-in zhipu/glm-4.7 normalised priced CNY 2 8
z-ai/glm-4.7 genai-prices zai/GLM-4.7 normalised priced USD 0.6 2.2
zai/glm-4.6 genai-prices zai/GLM-4.6 normalised priced USD 0.6 2.2
glm-4.7-flashx built-in zhipu/glm-4.7-flashx exact estimated CNY 0.5 3
glm-5 built-in zhipu/glm-5 exact estimated CNY 4 18
glm-5.1 built-in zhipu/glm-5.1 exact estimated CNY 6 24
glm-z1-air built-in zhipu/glm-z1-air exact estimated CNY 0.5 0.5
codegeex-4 built-in zhipu/codegeex-4 exact estimated CNY 0.1 0.1
# Doubao
doubao-pro-32k built-in volcengine/doubao-pro-32k exact priced CNY 0.8 2
doubao-pro-256k built-in volcengine/doubao-pro-256k exact priced CNY 5 9
doubao-lite-32k built-in volcengine/doubao-lite-32k exact priced CNY 0.3 0.6
doubao-1-5-pro-32k built-in volcengine/doubao-1-5-pro-32k exact priced CNY 0.8 2
Doubao-1.5-pro-32k built-in volcengine/doubao-1.5-pro-32k normalised priced CNY 0.8 2
doubao-1-5-pro-32k-250115 built-in volcengine/doubao-1-5-pro-32k date_stripped priced CNY 0.8 2
volcengine/doubao-1-5-pro-32k built-in volcengine/doubao-1-5-pro-32k normalised priced CNY 0.8 2
ark/doubao-seed-1-6-251015 built-in volcengine/doubao-seed-1-6 date_stripped priced CNY 0.8 2
doubao-seed-1.6 built-in volcengine/doubao-seed-1.6 exact priced CNY 0.8 2
doubao-seed-1-6 built-in volcengine/doubao-seed-1-6 exact priced CNY 0.8 2
doubao-seed-1-6-251015 built-in volcengine/doubao-seed-1-6 date_stripped priced CNY 0.8 2
doubao-seed-1-6-flash-250828 built-in volcengine/doubao-seed-1-6-flash date_stripped priced CNY 0.15 1.5
doubao-seed-1-6-thinking-250715 built-in volcengine/doubao-seed-1-6-thinking date_stripped priced CNY 0.8 8
doubao-seed-1-6-vision-250815 built-in volcengine/doubao-seed-1-6-vision date_stripped priced CNY 0.8 8
doubao-seed-1-8-251228 built-in volcengine/doubao-seed-1-8 date_stripped priced CNY 0.8 2
doubao-seed-code-preview-251028 built-in volcengine/doubao-seed-code-preview date_stripped priced CNY 1.2 8
doubao-seed-2-0-pro-260215 built-in volcengine/doubao-seed-2-0-pro date_stripped priced CNY 3.2 16
doubao-1-5-thinking-pro-250415 built-in volcengine/doubao-1-5-thinking-pro date_stripped priced CNY 4 16
# DeepSeek
deepseek-chat built-in deepseek/deepseek-chat exact priced USD 0.15 0.6
deepseek/deepseek-chat built-in deepseek/deepseek-chat normalised priced USD 0.15 0.6
deepseek-reasoner built-in deepseek/deepseek-reasoner exact priced USD 0.15 0.6
deepseek-v3 built-in deepseek/deepseek-v3 exact estimated USD 0.27 1.1
DeepSeek-V3 built-in deepseek/deepseek-v3 normalised estimated USD 0.27 1.1
deepseek-v3-0324 built-in deepseek/deepseek-v3 date_stripped estimated USD 0.27 1.1
deepseek-r1 built-in deepseek/deepseek-r1 exact estimated USD 0.55 2.19
deepseek-r1-0528 built-in deepseek/deepseek-r1 date_stripped estimated USD 0.55 2.19
deepseek-v3.1 built-in deepseek/deepseek-v3.1 exact estimated USD 0.56 1.68
deepseek-v3.2 built-in deepseek/deepseek-v3.2 exact estimated USD 0.28 0.42
deepseek-v3.2-exp built-in deepseek/deepseek-v3.2-exp exact estimated USD 0.28 0.42
deepseek-v4-flash built-in deepseek/deepseek-v4-flash exact priced USD 0.15 0.6
deepseek-v4-pro built-in deepseek/deepseek-v4-pro exact priced USD 0.66 1.98
deepseek-v4-pro[1m] built-in deepseek/deepseek-v4-pro normalised priced USD 0.66 1.98
# Kimi
kimi-k2-0711-preview built-in moonshot-cn/kimi-k2-0711-preview exact estimated CNY 4 16
kimi-k2-0905-preview built-in moonshot-cn/kimi-k2-0905-preview exact estimated CNY 4 16
kimi-k2-turbo-preview built-in moonshot-cn/kimi-k2-turbo-preview exact estimated CNY 8 58
kimi-k2-thinking built-in moonshot-cn/kimi-k2-thinking exact estimated CNY 4 16
kimi-k2-thinking-turbo built-in moonshot-cn/kimi-k2-thinking-turbo exact estimated CNY 8 58
kimi-k2 genai-prices moonshot-intl/kimi-k2 exact estimated USD 0.57 2.3
moonshot/kimi-k2-0905-preview built-in moonshot-cn/kimi-k2-0905-preview normalised estimated CNY 4 16
kimi-latest built-in moonshot-cn/kimi-latest exact estimated CNY 2 10
kimi-k2.5 built-in moonshot-cn/kimi-k2.5 exact estimated CNY 4 21
kimi-k2.6 built-in moonshot-cn/kimi-k2.6 exact estimated CNY 6.5 27
kimi-k3 genai-prices moonshot-intl/kimi-k3 exact estimated USD 3 15
moonshot-v1-8k built-in moonshot-cn/moonshot-v1-8k exact estimated CNY 2 10
moonshot-v1-32k built-in moonshot-cn/moonshot-v1-32k exact estimated CNY 5 20
moonshot-v1-128k built-in moonshot-cn/moonshot-v1-128k exact estimated CNY 10 30
moonshot-v1-auto built-in moonshot-cn/moonshot-v1-auto exact estimated CNY 2 10
# MiniMax
MiniMax-M2 built-in minimax-cn/minimax-m2 normalised estimated CNY 2.1 8.4
minimax-m2.5 built-in minimax-cn/minimax-m2.5 exact estimated CNY 2.1 8.4
MiniMax-M2.7 built-in minimax-cn/minimax-m2.7 normalised estimated CNY 2.1 8.4
MiniMax-Text-01 built-in minimax-cn/minimax-text-01 normalised estimated CNY 1 8
minimax/MiniMax-M2 built-in minimax-cn/minimax-m2 normalised estimated CNY 2.1 8.4
# must be unknown
claude-2.1 unpriced
gemini-1.5-flash-8b unpriced
unknown unpriced
auto unpriced
default unpriced
my-free-local-model unpriced
ep-20250101120000-abcde unpriced
gpt-4o:free unpriced
gpt-4o-zzz unpriced
gemini-2.5-pro-zzz unpriced
claude-sonnet-4-9 unpriced
claude-opus-4-6-zzz unpriced
deepseek-r1-distill-qwen-32b unpriced
ft:gpt-4o-mini-2024-07-18:acme::abc unpriced
qwen-max-zzz unpriced
my-qwen-max unpriced
qwen-plus-embedding unpriced
llama-3.3-70b-instruct unpriced
meta-llama/Llama-3.1-8B-Instruct unpriced
llama3:8b unpriced
mixtral-8x7b unpriced
gpt-oss-120b unpriced
openai/gpt-oss-120b unpriced
Qwen/Qwen2.5-72B-Instruct unpriced
deepseek-ai/DeepSeek-V3 unpriced
deepseek-ai/DeepSeek-R1-Distill-Qwen-32B unpriced
zai-org/GLM-4.6 unpriced
moonshotai/Kimi-K2-Instruct unpriced
glm-4-9b-chat unpriced
doubao-embedding unpriced
abab6.5s-chat unpriced
ernie-4.0-8k unpriced
hunyuan-pro unpriced
yi-large unpriced
baichuan4 unpriced
step-2-16k unpriced
deepseek-coder unpriced
gpt-4o-mini-finetuned unpriced
GPT unpriced
/ unpriced
:free unpriced
- unpriced
未知模型 unpriced
"""

LINES = [line for line in REFERENCE.strip().splitlines() if not line.startswith("# ")]
PRICED = [line for line in LINES if not line.endswith(" unpriced")]
UNPRICED = [line.removesuffix(" unpriced") for line in LINES if line.endswith(" unpriced")]
