"""What faces say to people, in English and Chinese: the English text is its own key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Words:
    """Texts in one language."""

    def __init__(self, language: Language = "en") -> None:
        self.language = language

    def __call__(self, text: str, **values: object) -> str:
        """`text` in this language with `values` put in; a text without a translation stays English."""
        if self.language == "zh":
            text = CHINESE.get(text, text)
        return text.format(**values) if values else text


def language_of(environment: Mapping[str, str]) -> Language:
    """The language that the environment asks for: SESSION_MONITOR_LANG, else what the locale says."""
    for name in ("SESSION_MONITOR_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


CHINESE: dict[str, str] = {
    "There is no token yet: `session-monitor token create` makes one.": "还没有令牌：用 `session-monitor token create` 创建。",
    "id": "编号",
    "opens": "可见范围",
    "made": "创建时间",
    "ends": "到期时间",
    "note": "备注",
    "no price is known for {models}: `session-monitor prices missing` begins a price file for them": "{models} 没有已知价格：用 `session-monitor prices missing` 生成一份待填的价目文件",
    "The log names no model yet.": "日志中还没有模型。",
    "Nothing was counted in the present period.": "当前周期内没有任何记录。",
    "per million tokens": "每百万词元",
    "pricing anew": "正在重新计价",
    "today": "今天",
    "yesterday": "昨天",
    "this month": "本月",
    "span": "时段",
    "difference": "差额",
    "change": "变化",
    "average of {days} days: {rounds} rounds, {tokens} tokens, {cost} a day": "{days} 天平均：每天 {rounds} 轮，{tokens} 词元，{cost}",
    "forecast of the month: {cost} ({low} to {high})": "本月预测：{cost}（{low} 至 {high}）",
    "saving": "节省",
    "can't do": "不能满足",
    "context": "上下文",
    "{compared} of {rounds} rounds compared, which cost {cost}; * marks what was used": "比较了 {rounds} 轮中的 {compared} 轮，花费 {cost}；* 为实际使用的模型",
    "severity": "严重程度",
    "kind": "类型",
    "why": "原因",
    "extra cost": "多花费用",
    "Nothing unusual among {rounds} rounds.": "{rounds} 轮中没有异常。",
    "budget": "预算名",
    "for": "对象",
    "limit": "上限",
    "resets": "重置时间",
    "state": "状态",
    "used": "已用",
    "(none)": "（无）",
    "--json and --csv can't be had together: leave one of them out": "--json 和 --csv 不能同时使用：请去掉其中一个",
    "--state-file is not needed: what was read is kept with the figures": "不需要 --state-file：读取进度与统计数据保存在一起",
    "A": "答",
    "against the period before": "与上一周期相比",
    "agent": "智能体",
    "Budget": "预算",
    "By agent": "按智能体",
    "By consumer": "按消费者",
    "By date": "按日期",
    "By function": "按功能",
    "By model": "按模型",
    "By route": "按路由",
    "By upstream host": "按上游主机",
    "By user": "按用户",
    "cached": "缓存",
    "consumer": "消费者",
    "cost": "费用",
    "Cost by day, {currency}": "每日费用（{currency}）",
    "date": "日期",
    "Dearest sessions": "费用最高的会话",
    "does not exist yet": "尚不存在",
    "FAILED": "失败",
    "failed": "失败",
    "forecast for {month}": "{month} 预测",
    "from the cache": "来自缓存",
    "from the cache {number}": "缓存命中 {number}",
    "from the first round": "从第一轮起",
    "function": "功能",
    "highest": "最高",
    "host": "主机",
    "hour": "小时",
    "input": "输入",
    "input from the cache": "输入的缓存命中率",
    "Input holds what came from the cache, output holds reasoning. Currencies are never added to each other.": "输入包含缓存命中的部分，输出包含推理部分。不同货币从不相加。",
    "input {number}": "输入 {number}",
    "made on {time}": "生成于 {time}",
    "mean of {minutes} min": "{minutes} 分钟平均",
    "model": "模型",
    "month": "月份",
    "name a file for the report (report.json, .csv or .html), or a folder with --sessions": "请指定报告文件（report.json、.csv 或 .html），或用 --sessions 指定文件夹",
    "Newest failures": "最近的失败",
    "No process reads the logs now.": "目前没有进程在读取日志。",
    "No session matches.": "没有符合条件的会话。",
    "No session yet: session-monitor doctor says what is missing.": "还没有会话：session-monitor doctor 会说明缺少什么。",
    "no time": "无时间",
    "Nothing was counted in this period.": "这段时间内没有任何记录。",
    "ok": "成功率",
    "other input": "其他输入",
    "output": "输出",
    "output {number}": "输出 {number}",
    "price from": "价格来源",
    "Price lists": "价目表",
    "Q": "问",
    "q ends it": "按 q 退出",
    "R": "思",
    "read to its end": "已读到末尾",
    "reading the log": "正在读取日志",
    "reasoning": "推理",
    "reasoning {number}": "推理 {number}",
    "round": "轮次",
    "rounds": "轮数",
    "route": "路由",
    "session": "会话",
    "sessions": "会话数",
    "share": "占比",
    "source": "来源",
    "standard input can't be read while another process ingests: name another --data-dir": "另一个进程正在读取日志时不能读取标准输入：请另外指定 --data-dir",
    "status": "状态码",
    "success rate": "成功率",
    "T": "工具",
    "the logs were not read: {error}": "日志未能读取：{error}",
    "time": "时间",
    "tokens": "词元",
    "Tokens by day": "每日词元",
    "Tokens by hour of the day": "各时段词元",
    "tokens with a price": "有价格的词元",
    "total": "合计",
    "updated": "更新时间",
    "Usage report": "用量报告",
    "user": "用户",
    "writing documents": "正在写会话文档",
    "written: {path}": "已写入：{path}",
    "{bytes} bytes of log are not read: this is as of {as_of}": "日志还有 {bytes} 字节未读：以上数据截至 {as_of}",
    "{bytes} bytes of the log were not read yet": "日志还有 {bytes} 字节未读",
    "{bytes} bytes to read": "还有 {bytes} 字节待读",
    "{cost}/min": "{cost}/分钟",
    "{input} in, {output} out": "输入 {input}，输出 {output}",
    "{more} more rows are in the JSON and CSV reports.": "另有 {more} 行，见 JSON 和 CSV 报告。",
    "{more} more; --limit shows more": "另有 {more} 行；可用 --limit 显示更多",
    "{number} cached": "缓存 {number}",
    "failed rounds: {number}": "失败轮数：{number}",
    "{number} reasoning": "推理 {number}",
    "{number} rounds": "{number} 轮",
    "rounds without a price: {number} ({models})": "没有价格的轮数：{number}（{models}）",
    "{number} sessions": "{number} 个会话",
    "{number} tokens": "{number} 词元",
    "{number} tokens/min": "{number} 词元/分钟",
    "{rounds} rounds, {tokens} tokens, {cost}": "{rounds} 轮，{tokens} 词元，{cost}",
    "{share} of the input from the cache": "输入的 {share} 来自缓存",
    "{shown} of {total} sessions; --limit shows more": "共 {total} 个会话，显示了 {shown} 个；可用 --limit 显示更多",
    "{title}: {done} of {total} ({share:.0%}), {speed}/s, {minutes}:{seconds:02d} left": "{title}：{done} / {total}（{share:.0%}），{speed}/秒，还需 {minutes}:{seconds:02d}",
    "{title}: {total} to go": "{title}：共 {total}",
    "{written} of {total} session documents written to {folder}": "{total} 个会话文档中写入了 {written} 个，位于 {folder}",
}
