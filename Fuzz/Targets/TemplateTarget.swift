import AutoGLMChat
import AutoGLMJSON
import AutoGLMJinja

/// A chat template and, behind a zero byte, the values it gets: parsed, rendered within a small
/// budget, and, where that goes well, taken for a model's own template.
let templateTarget = FuzzTarget(
    "template", seeds: templateSeeds.map { Array($0.utf8) }, words: templateWords
) { bytes in
    let two = halves(bytes)
    let source = String(decoding: two.first, as: UTF8.self)
    let template = try JinjaTemplate(source: source)
    var variables = conversation
    if let values = two.second, let given = try JSONValue.parse(values).dictionary {
        variables.merge(given) { $1 }
    }
    let limits = TemplateLimits(
        steps: 5_000, outputBytes: 1 << 16, stringBytes: 1 << 16, elements: 1 << 12)
    let date = TemplateDate(year: 2026, month: 2, day: 28, hour: 23)
    let result = try template.render(
        variables, trust: JinjaTrust(variables: ["bos_token"], members: ["role": ["user"]]),
        now: date, limits: limits)
    promise(result.text.utf8.count <= limits.outputBytes, "more output than allowed")
    promise(result.text == result.runs.map(\.text).joined(), "runs differ from the text")
    let again = try template.render(variables, trust: JinjaTrust(), now: date, limits: limits)
    promise(again.text == result.text, "trust changes the text")
    // Probing a template for what it shows takes a hundred times as long as rendering it.
    guard bytes.count % 16 == 0 else { return }
    let model = try ModelText(tokenizer: nil, templates: ["default": source], name: "m")
    _ = try model.render(Conversation(messages: variables["messages"]?.arrayValue ?? []), now: date)
}

private let conversation: [String: JSONValue] = [
    "messages": [
        ["role": "system", "content": "Be brief."], ["role": "user", "content": "你好 <|user|>"],
        [
            "role": "assistant", "content": .null,
            "tool_calls": [
                [
                    "id": "1", "type": "function",
                    "function": ["name": "f", "arguments": ["a": 1, "b": [1.5, .null, true]]],
                ]
            ],
        ],
        ["role": "tool", "content": "42", "tool_call_id": "1"],
    ],
    "tools": [["type": "function", "function": ["name": "f", "parameters": ["type": "object"]]]],
    "add_generation_prompt": true, "bos_token": "<s>",
]

private let templateSeeds = [
    "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] }}{% endfor %}",
    "{%- set ns = namespace(x=0) -%}{% for m in messages if m.content %}{% set ns.x = ns.x + loop.index0 %}"
        + "{{ loop.first }}{{ loop.cycle('a', 'b') }}{% else %}none{% endfor %}{{ ns.x // 2 ** 3 % 5 }}",
    "{% macro f(a, b=1, *args, **kw) %}{{ a|upper }}{{ b }}{{ caller() if caller }}{% endmacro %}"
        + "{% call f('x', b=[1, 2][::-1]) %}c{% endcall %}",
    "{{ tools | tojson(indent=2) }}{{ messages | map(attribute='role') | join(', ') | title | trim }}",
    "{{ 'a-b'.split('-')[0] ~ \"%s %05.2f\" % ('x', 1.5) ~ '{:>8}'.format('y') }}{{ [3,1]|sort|list|first }}",
    "{% if a is defined and not b is none or 1 in [1] %}{{ x|default('d', true) }}{% elif c %}{% endif %}",
    "{% filter upper %}{% set x %}t{% endset %}{{ x|replace('t', 'u')|escape|length }}{% endfilter %}"
        + "{# c #}{% raw %}{{ }}{% endraw %}{{ strftime_now('%Y-%m-%d') }}",
    "{{ raise_exception('no') if messages|length > 9 }}{{ dict(a=1).items()|list }}{{ (1, 2)|sum }}"
        + "{{ messages|selectattr('role', 'equalto', 'user')|groupby('role')|batch(2)|list }}",
    "{{ a }}{{ b[1:].x }}\0{\"a\": [1, \"x\"], \"b\": {\"x\": 1e300}, \"messages\": []}",
]

private let templateWords = [
    "{{", "}}", "{%", "%}", "{%-", "-%}", "{#", "#}", "{% for x in range(9) %}", "{% endfor %}",
    "{% if ", "{% endif %}", "{% set x = ", "{% macro m(a) %}", "{% endmacro %}", "namespace(",
    "|join", "|tojson", "|map(", "|select(", "|sort", "|indent(", "|format(", "|round(", "|int",
    "|batch(", "|slice(", "|groupby(", "|wordwrap(", "|center(", "|truncate(", "|dictsort",
    ".split(", ".replace(", ".format(", ".items()", " ** ", " // ", " % ", "<<", "loop.", " is ",
    "9223372036854775807", "-9223372036854775808", "1e308", "0x", "\\u", "'*9999", "[::-1]",
    "range(999999999)", "{% break %}", "{% continue %}", "{% generation %}", "lipsum(",
    "'%0999d' % 1", "'{:9999}'.format(1)", "|safe", "|striptags", "cycler(", "joiner(", "not ",
]
