"""Writes markup.json: what Jinja2 3.1.6 with MarkupSafe 3.0.3 makes of strings marked safe, in the
environment of transformers.apply_chat_template (autoescape is off)."""
import json
import pathlib

from jinja2.sandbox import ImmutableSandboxedEnvironment

CONTEXT = {"x": "<u>&", "q": "it's \"so\"", "d": {"k": "<v>", "n": 3}, "l": ["<a>", "b"], "n": 7, "none": None}
SNIPPETS = r"""
{{ x | safe }} {{ x | safe is escaped }} {{ x is escaped }}
{{ x | escape }} {{ x | e }} {{ x | e is escaped }}
{{ q | e }}
{{ x | forceescape }} {{ x | forceescape is escaped }}
{{ x | e | e }} {{ x | e | escape }}
{{ x | e | forceescape }} {{ x | safe | forceescape }}
{{ x | safe | e }}
{{ n | e }} {{ n | e is escaped }} {{ l | e }} {{ none | e }} {{ missing | e }}|
{{ n | safe is escaped }} {{ n | safe is string }} {{ (n | safe) + '<' }}
{{ missing | safe is escaped }}|{{ missing | safe }}|
{{ (x | safe) + x }} {{ ((x | safe) + x) is escaped }}
{{ x + (x | safe) }} {{ (x + (x | safe)) is escaped }}
{{ (x | safe) + (x | safe) }}
{{ x + x }}
{{ 'a' + ('b' | safe) + '<' }}
{{ '<' + ('b' | safe) + '<' + '>' }}
{{ (x | safe) + 1 }}
{{ 1 + (x | safe) }}
{{ (x | safe) + none }}
{{ (x | safe) + missing }}
{{ missing + (x | safe) }}
{{ (x | safe) + l }}
{{ (x | safe) ~ x }} {{ ((x | safe) ~ x) is escaped }}
{{ x ~ (x | e) ~ n }} {{ (x ~ (x | e)) is escaped }}
{{ ((x | safe) ~ (x | safe)) is escaped }}
{{ ((x | safe) ~ '<') + '<' }}
{{ (x | safe) * 2 }} {{ ((x | safe) * 2) is escaped }} {{ (2 * (x | safe)) is escaped }}
{{ ((x | safe) * 0) is escaped }} {{ ((x | safe) * -1) is escaped }} {{ ((x | safe) * true) is escaped }}
{{ ('<b>%s</b>' | safe) % x }} {{ (('%s' | safe) % x) is escaped }}
{{ ('%s %s' | safe) % (x, x | safe) }}
{{ ('%s' | safe) % (x,) }}
{{ ('%s' | safe) % l }} {{ ('%s' | safe) % d }} {{ ('%s' | safe) % none }} {{ ('%s' | safe) % missing }}|
{{ ('%(k)s|%(n)d' | safe) % d }}
{{ ('%r' | safe) % x }} {{ ('%r' | safe) % (x | safe) }} {{ ('%r' | safe) % n }}
{{ ('%5s|%-5s|' | safe) % ('<', '<') }}
{{ ('%.2s' | safe) % '<' }}
{{ ('%d' | safe) % n }} {{ ('%05d' | safe) % n }} {{ ('%.2f' | safe) % n }} {{ ('%d' | safe) % 2.9 }}
{{ ('%d' | safe) % '12' }} {{ ('%.1f' | safe) % ' 2.5 ' }}
{{ ('%d' | safe) % 'a' }}
{{ ('%f' | safe) % 'a' }}
{{ ('%d' | safe) % none }}
{{ ('%x' | safe) % 255 }}
{{ ('%d' | safe) % missing }}
{{ ('%%' | safe) % () }}
{{ ('%s' | safe) % () }}
{{ ('a' | safe) % 1 }}
{{ ('a' | safe) % (1,) }}
{{ ('a' | safe) % l }}
{{ 'a' % 1 }}
{{ 'a' % 'b' }}
{{ 'a' % l }}
{{ 'a' % d }}
{{ '%s' % (x | safe) }} {{ ('%s' % (x | safe)) is escaped }}
{{ 'a%s<' % (x | e) }}
{{ ('%s' | safe) | format(x) }} {{ ('%s' | safe) | format(x | safe) }} {{ (('%s' | safe) | format(x)) is escaped }}
{{ ('%(a)s' | safe) | format(a=x) }}
{{ '%s' | format(x | safe) }} {{ ('%s' | format(x | safe)) is escaped }}
{{ ('{}' | safe).format(x) }} {{ ('{}' | safe).format(x | safe) }} {{ ('{}' | safe).format(x) is escaped }}
{{ ('{a}<{b}' | safe).format(a=x, b=n) }}
{{ ('{!r}' | safe).format(x) }} {{ ('{!s}' | safe).format(x | safe) }} {{ ('{!r}' | safe).format(x | safe) }}
{{ ('{:>4}|{:<4}|' | safe).format('<', '<') }}
{{ ('{:>4}' | safe).format('<' | safe) }}
{{ ('{:5.1f}' | safe).format(n) }} {{ ('{0.k}{0[k]}' | safe).format(d) }}
{{ '{}'.format(x | safe) }} {{ '{}'.format(x | safe) is escaped }} {{ '{:>6}'.format(x | safe) }}
{{ [x, x | safe] | join }} {{ ([x | safe] | join) is escaped }}
{{ [x, x] | join('<' | safe) }} {{ ([x, x] | join('<' | safe)) is escaped }}
{{ ('<' | safe).join([x, x | safe]) }} {{ ('<' | safe).join(l) is escaped }} {{ ('' | safe).join([]) is escaped }}
{{ ('<' | safe).join([1, none, x]) }}
{{ '<'.join([x, x | safe]) }} {{ '<'.join([x | safe]) is escaped }}
{{ (x | safe).upper() }} {{ (x | safe).upper() is escaped }} {{ (x | safe).upper() + x }}
{{ (x | safe).lower() is escaped }} {{ (x | safe).title() is escaped }} {{ (x | safe).capitalize() is escaped }} {{ (x | safe).swapcase() is escaped }} {{ (x | safe).casefold() is escaped }}
{{ (x | safe).strip('<') }} {{ (x | safe).strip('<') is escaped }} {{ (x | safe).lstrip() is escaped }} {{ (x | safe).rstrip('&') is escaped }}
{{ (x | safe).replace('u', '<') }} {{ (x | safe).replace('u', '<') is escaped }} {{ (x | safe).replace('u', '<' | safe) }}
{{ (x | safe).replace('<', '>', 1) }}
{{ x.replace('u', '&' | safe) }} {{ x.replace('u', '&' | safe) is escaped }}
{{ (x | safe).split('u') }} {{ (x | safe).split('u')[0] is escaped }} {{ ('a b' | safe).split()[1] is escaped }}
{{ ('a b' | safe).rsplit(' ', 1) }} {{ ('a\nb' | safe).splitlines() }} {{ ('a' | safe).splitlines()[0] is escaped }}
{{ ('a=b' | safe).partition('=') }} {{ ('a=b' | safe).rpartition('=') }} {{ ('ab' | safe).partition('=') }}
{{ ('ab' | safe).removeprefix('a') is escaped }} {{ ('ab' | safe).removesuffix('b') is escaped }} {{ ('ab' | safe).removeprefix('x') is escaped }}
{{ ('ab' | safe).center(6, '*') }} {{ ('ab' | safe).center(6) is escaped }} {{ ('ab' | safe).ljust(4, '.') is escaped }} {{ ('ab' | safe).rjust(1) is escaped }}
{{ ('ab' | safe).center(6, '<') }}
{{ ('ab' | safe).ljust(6, '<') }}
{{ ('7' | safe).zfill(3) is escaped }} {{ ('\t<' | safe).expandtabs(2) is escaped }} {{ ('7' | safe).zfill(3) }}
{{ ('ab' | safe).find('b') }} {{ ('ab' | safe).count('a') }} {{ ('ab' | safe).startswith('a') }} {{ ('ab' | safe).isalpha() }}
{{ (x | safe)[1] }} {{ (x | safe)[1] is escaped }} {{ (x | safe)[1:] is escaped }} {{ (x | safe)[::-1] }} {{ (x | safe)[::-1] is escaped }} {{ (x | safe)[:] is escaped }}
{{ (x | safe)[-1] + '<' }}
{% for c in x | safe %}{{ c }}{{ c is escaped }}{% endfor %}
{{ (x | safe) | list }} {{ l | map('e') | list }} {{ l | map('safe') | map('upper') | list }}
{{ (x | safe) | first is escaped }} {{ (x | safe) | last is escaped }} {{ ('a' | safe) | first is escaped }} {{ (x | safe) | reverse is escaped }} {{ (x | safe) | reverse }}
{{ (x | safe) | upper is escaped }} {{ (x | safe) | lower is escaped }} {{ (x | safe) | capitalize is escaped }} {{ (x | safe) | title is escaped }}
{{ (x | safe) | trim is escaped }} {{ ('  <' | safe) | trim }} {{ (x | safe) | trim('<') is escaped }}
{{ (x | safe) | center(9) is escaped }} {{ (x | safe) | center(1) is escaped }} [{{ (x | safe) | center(9) }}]
{{ (x | safe) | replace('u', '<') }} {{ (x | safe) | replace('u', '<') is escaped }} {{ x | replace('u', '<' | safe) }} {{ (x | safe) | replace('zz', '') is escaped }}
{{ (x | safe) | string is escaped }} {{ x | string is escaped }} {{ n | string is escaped }}
{{ (x | safe) | string + x }}
{{ ('a\n<b' | safe) | indent(2) }} {{ (('a\n<b' | safe) | indent(2)) is escaped }}
{{ ('a\n<b' | safe) | indent('<') }}
{{ ('a\n<b' | safe) | indent('<', true, true) }}
{{ 'a\n<b' | indent('<' | safe) }} {{ ('a\n<b' | indent('<' | safe)) is escaped }}
{{ 'a\n<b' | indent('<' | safe, first=true) }} {{ ('a\n<b' | indent('<' | safe, first=true)) is escaped }}
{{ 'a\n\n<b' | indent('<' | safe, blank=true) }} {{ ('a' | indent('<' | safe, blank=true)) is escaped }}
{{ 'a\n\n<b' | indent(2, true, false) }}|{{ 'a\n\n<b' | indent(2, true, true) }}
{{ ('<aaaa bbbb cccc' | safe) | truncate(9, false, '<', 0) }} {{ (('<aaaa bbbb cccc' | safe) | truncate(9)) is escaped }}
{{ '<aaaa bbbb cccc' | truncate(9, true, '<' | safe, 0) }} {{ ('<aaaa bbbb cccc' | truncate(9, true, '<' | safe, 0)) is escaped }}
{{ ('aaaa' | safe) | truncate(9) is escaped }}
{{ ('<aa bb' | safe) | wordwrap(3) }} {{ (('<aa bb' | safe) | wordwrap(3)) is escaped }}
{{ '<aa bb' | wordwrap(3, wrapstring='<' | safe) }} {{ ('aa bb' | wordwrap(3, wrapstring='<' | safe)) is escaped }}
{{ (x | safe) | wordcount }} {{ (x | safe) | length }} {{ (x | safe) | urlencode }} {{ ((x | safe) | urlencode) is escaped }}
{{ (x | safe) | striptags }} {{ ((x | safe) | striptags) is escaped }} {{ '<b>a</b> &lt;' | striptags }}
{{ ('&lt;b&gt; &amp;amp; &#39;&#34; &#x41;' | safe) | striptags }}
{{ ('<i>&lt;b&gt;</i>' | safe).striptags() }} {{ ('a' | safe).striptags() is escaped }} {{ x.striptags }}
{{ (x | e).unescape() }} {{ (x | e).unescape() is escaped }} {{ (x | e).unescape() == x }}
{{ ('' | safe).escape(x) }} {{ ('' | safe).escape(x | safe) }} {{ ('' | safe).escape(x) is escaped }}
{{ (x | safe) | tojson }} {{ ((x | safe) | tojson) is escaped }} {{ [x | e] | tojson }} {{ {(x | e): 1} | tojson }}
{{ x | tojson is escaped }} {{ (x | tojson) + ('<' | safe) }}
{{ [x | safe] }} {{ (x | safe, ) }} {{ {'a': x | e} }} {{ {(x | safe): 1} }}
{{ [q | safe] }} {{ ["a'b" | safe] }}
{{ (x | safe) | pprint }} {{ [x | safe] | pprint }} {{ ((x | safe) | pprint) is escaped }}
{{ [x | safe] | string }} {{ ([x | safe] | string) is escaped }} {{ [x | safe] | e }}
{{ (x | safe) == x }} {{ x == (x | safe) }} {{ (x | safe) in [x] }} {{ '<' in (x | safe) }} {{ (x | safe) < 'a' }}
{{ {x: 1}[x | safe] }} {{ {(x | safe): 1}[x] }} {{ d['k' | safe] }}
{{ (x | safe) is string }} {{ (x | safe) is sequence }} {{ (x | safe) is iterable }} {{ (x | safe) is mapping }}
{{ (x | safe).nosuch.deeper }}
{{ (x | safe).nosuch is defined }} {{ (x | safe)['nosuch'] is defined }}
{{ (x | safe)() }}
{{ -(x | safe) }}
{{ (x | safe) - 1 }}
{% set m %}<{{ x }}>{% endset %}{{ m is escaped }} {{ m + ('<' | safe) }}
{% set m | safe %}<{% endset %}{{ m is escaped }} {{ m + '<' }}
{% set m | e %}<{% endset %}{{ m is escaped }} {{ m }}
{% filter e %}<{{ x }}{% endfilter %} {% filter e | e %}<{% endfilter %} {% filter forceescape | forceescape %}<{% endfilter %}
{% macro f(a) %}<{{ a }}>{% endmacro %}{{ f(x) is escaped }} {{ f(x | safe) }} {{ f(x) + ('<' | safe) }}
{% macro f(a) %}{{ a is escaped }}{% endmacro %}{{ f(x | safe) }} {{ f(x) }}
{% macro f() %}{{ caller() is escaped }}{{ caller() }}{% endmacro %}{% call f() %}<{{ x }}{% endcall %}
{% set ns = namespace(m=x | safe) %}{{ ns.m is escaped }} {% set ns.m = ns.m + '<' %}{{ ns.m }} {{ ns }}
{% for i in [[x | safe]] recursive %}{{ i is escaped }}{% if i is not string %}{{ loop(i) is escaped }}{% endif %}{% endfor %}
{% for i in ['<' | safe, '>'] %}{{ i is escaped }}{{ loop.nextitem is escaped }}{{ loop.cycle(x | safe, x) is escaped }} {% endfor %}
{{ (x | safe if true else x) is escaped }} {{ ((x | safe) or x) is escaped }} {{ (missing | default(x | safe)) is escaped }} {{ ((x | safe) | default('y')) is escaped }}
{{ [x | safe, '<a'] | sort | map('e') | join(' ') }} {{ ([x | safe, 'zz'] | min) is escaped }} {{ [x | safe, x] | unique | list }}
{{ ['b' | safe, 'A'] | sort }} {{ {'b': 1, ('a' | safe): 2} | dictsort }}
{{ [{'k': 'a' | safe}] | groupby('k') }}
{{ ['a' | safe] | sum }}
{{ {'<k': '<v', 'm': '<' | safe} | xmlattr }} {{ ({'a': 1} | xmlattr) is escaped }}
{{ {'b': '<' | safe, 'c': '<'} | xmlattr }}
{{ ('5' | safe) | int + 1 }} {{ ('2.5' | safe) | float }} {{ '5' | int is escaped }}
{{ joiner('<' | safe)() }}{% set j = joiner('<' | safe) %}{{ j() is escaped }}{{ j() is escaped }} {{ cycler('<' | safe).next() is escaped }}
{{ dict(a=x | safe).a is escaped }} {{ d.get('k') | e }} {{ (d.k | safe) + d.k }}
{{ (x | safe) | attr('upper') is callable }} {{ ((x | safe) | attr('upper'))() is escaped }}
{{ 'x' | batch(1) | list }} {{ ('<a' | safe) | batch(1) | list }} {{ ('ab' | safe) | slice(2) | list }}
{{ l | select('escaped') | list }} {{ [x | e, x] | select('escaped') | list }} {{ [x | e, x] | reject('escaped') | list }}
{{ l | map('e') | join('<') }} {{ l | map('e') | join(' & ' | safe) }} {{ l | join('<' | safe) }}
{{ raise(x | safe) }}
{{ (x | safe) | filesizeformat }}
{{ ('%s' | safe) % ('<b>' | safe, ) + ('%s' % '<') }}
{{ (('<' | safe) ~ '<') | e }} {{ ('<' | e ~ '<') }} {{ '<' | e + '<' }}
{{ '&lt;' | e }} {{ ('&lt;' | safe) | e }} {{ '&' | e | e | forceescape }}
{{ '<\u00e9\u4f60>' | e }} {{ ('é' | safe).upper() }} {{ ('ß' | safe).upper() is escaped }}
{{ ('a,b' | safe).split(',') | join('<') }} {{ ('<' | safe).join('a,<'.split(',')) }}
{{ '%s' % ('<' | safe, ) is escaped }} {{ ('%s' | safe) % ([('<' | safe)], ) }}
"""

env = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
env.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
cases = []
for source in SNIPPETS.strip().split("\n"):
    try:
        cases.append({"template": source, "text": env.from_string(source).render(CONTEXT)})
    except Exception as error:
        cases.append({"template": source, "raises": type(error).__name__})
path = pathlib.Path(__file__).with_name("markup.json")
path.write_text(json.dumps({"context": CONTEXT, "cases": cases}, ensure_ascii=False, indent=1) + "\n")
print(len(cases), "cases")
