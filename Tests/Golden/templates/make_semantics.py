"""Writes semantics.json: what Jinja2 3.1.6 makes of small templates (pip install jinja2==3.1.6)."""
import json, datetime
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2 import nodes
import jinja2
from jinja2.ext import Extension
class Gen(Extension):
    tags={'generation'}
    def parse(self,parser):
        l=next(parser.stream).lineno
        body=parser.parse_statements(['name:endgeneration'],drop_needle=True)
        return nodes.CallBlock(self.call_method('_s'),[],[],body).set_lineno(l)
    def _s(self,caller): return caller()
env=ImmutableSandboxedEnvironment(trim_blocks=True,lstrip_blocks=True,extensions=[Gen,'jinja2.ext.loopcontrols'])
def tj(x,ensure_ascii=False,indent=None,separators=None,sort_keys=False):
    return json.dumps(x,ensure_ascii=ensure_ascii,indent=indent,separators=separators,sort_keys=sort_keys)
env.filters['tojson']=tj
def rz(m): raise jinja2.exceptions.TemplateError(m)
env.globals['raise_exception']=rz
env.globals['strftime_now']=lambda f: datetime.datetime(2024,7,26,12,34,56).strftime(f)
ctx=dict(s="Hello Wörld", l=[3,1,2], d={"b":1,"a":[1,{"z":None}]}, u="  pad\t\n", n=None, t=True, x=3, y=-2.5, z="日本語 text", rows=[{"k":"b","v":1},{"k":"a","v":2},{"k":"B","v":3}])
S=r'''
{% for i in l recursive %}{{ i }}{% if i == 3 %}({{ loop([7, 8]) }}){% endif %}{% endfor %}
{% for i in [] %}x{% else %}empty{% endfor %}
{% for i in range(6) if i % 2 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}
{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }} {% endfor %}
{% for i in [1,1,2,2,1] %}{% if loop.changed(i) %}{{ i }}{% endif %}{% endfor %}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in [(1,)] %}{% endfor %}
{% for a, b in [(1,2,3)] %}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for i in 5 %}{% endfor %}
{% set x = 1 %}{% for i in l %}{% set x = i %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% for i in l %}{{ x }}{% set x = x + i %}{{ x }} {% endfor %}
{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}
{% with a = 1 %}{% set q = 3 %}{% endwith %}{{ q }}|
{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, c=9) }} {{ f() }}
{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, k='v') }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f.name }} {{ f.arguments }} {{ f.caller }}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro f() %}{{ late }}{% endmacro %}{% set late = 7 %}{{ f() }}
{% macro f() %}{% set inner = 3 %}{{ inner }}{% endmacro %}{{ f() }}{{ inner }}
{% macro f() %}[{{ caller() if caller else 'none' }}]{% endmacro %}{{ f() }}{% call f() %}x{% endcall %}
{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}
{% macro f(x) %}{{ x.a.b is defined }}{% endmacro %}{{ f({'a': {}}) }}
{% call(a, b=5) f %}{% endcall %}
{% macro l2(items) %}{% for i in items %}{{ caller(i, loop.index) }}{% endfor %}{% endmacro %}{% call(v, i) l2(['p', 'q']) %}{{ i }}{{ v }} {% endcall %}
{% set a %}x{{ 1 }}{% endset %}{{ a }}{{ a is string }}
{% set a | upper | trim %} x{{ 1 }} {% endset %}[{{ a }}]
{% filter upper | replace('A', 'b') %}abc{% endfilter %}
{% set ns = namespace(a=1, b=[]) %}{% set ns.b = ns.b + [2] %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}
{% set q.a = 1 %}
{% generation %}g{% set inside = 1 %}{% endgeneration %}{{ inside }}|
{% if false %}{{ x | nosuch }}{% endif %}ok
{{ (x | nosuch) if false else 'ok' }}
{{ x | nosuch }}
{{ x is nosuch }}
{% for i in l %}{{ i | nosuch }}{% endfor %}
{% if true %}{% for i in [1] %}{{ i | nosuch }}{% endfor %}{% endif %}
{% if true %}{{ x | nosuch }}{% endif %}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }}
{{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 / 3 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 1e15 }} {{ 1e-5 }} {{ 0.0001 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ - x }} {{ + x }} {{ not x }} {{ --3 }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 1 == 1.0 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1, 2) == [1, 2] }} {{ 3 not in l }} {{ 'z' not in d }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ [] == [] }} {{ {} == {} }} {{ {'a': 1} == {'a': 1.0} }} {{ none == false }} {{ 0 == false }} {{ 'a' == 'a' }}
{{ 1 in 'abc' }}
{{ 'a' in none }}
{{ 'a' in q }} {{ q == q2 }} {{ q != 1 }}
{{ q + 1 }}
{{ 'a' + q }}
{{ 'a' ~ q ~ 'b' }}|{{ q | length }}{{ q | upper }}{{ q | list }}{{ q | join }}
{{ q.a.b }}
{{ d.q.a }}
{{ d.q }}|{{ d['q'] }}|{{ l[9] }}|{{ s.nope }}|{{ none.x }}|{{ l['x'] }}
{{ l[9].x }}
{{ l[0] }}{{ l[-1] }}{{ l.0 }}{{ s[0] }}{{ s[-3] }}{{ z[1] }}{{ z[:2] }}{{ z[::-1] }}{{ 'abcdef'[1:5:2] }}{{ l[::-1] }}{{ (1,2,3)[1:] }}
{{ range(10)[2:8:3] | list }} {{ range(5)[-1] }} {{ range(3) }} {{ range(0, 9, 3) }} {{ range(5, 0, -2) | list }}
{{ range(1000000) }}
{{ [1, 'a', 1.5, none, true, (1,), (), {'k': [1]}] }}
{{ 'it\'s' }} {{ ["it's", 'q"q', 'b\'o"th', 'nl\n\t\\', '\x00\x7f', 'é日😀', '\u200b\xa0'] }}
{{ d | tojson(indent=2, sort_keys=true) }} {{ z | tojson }} {{ z | tojson(ensure_ascii=true) }} {{ '😀' | tojson(ensure_ascii=true) }} {{ {} | tojson(indent=2) }} {{ [] | tojson }} {{ "\x7f\x1f\b\f/" | tojson }}
{{ {1: 2, none: 3, true: 4, 1.5: 'x'} | tojson }} {{ [1.0, 1e100, -0.0, 1e-7] | tojson }} {{ (1, 2) | tojson(separators=(',', ':')) }} {{ {'a': [1, 2]} | tojson(indent='--') }}
{{ q | tojson }}
{{ d.items() | tojson }}
{{ {(1, 2): 3} | tojson }}
{{ {[1]: 2} }}
{{ 'a,b,c'.split(',', 1) }} {{ 'a  b'.split(' ') }} {{ ' a b '.split() }} {{ ' a b c '.split(none, 1) }} {{ 'a b c'.rsplit(' ', 1) }} {{ '  a b  c '.rsplit(none, 1) }} {{ 'abc'.split('') }}
{{ 'a\nb\r\nc\x0bd\u2028e\n'.splitlines() }} {{ 'a\nb\n'.splitlines(true) }} {{ 'k=v=w'.partition('=') }} {{ 'k=v=w'.rpartition('=') }} {{ 'kv'.partition('=') }}
{{ '  x '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ '\u3000a\u00a0'.strip() }}|{{ 'abcba'.lstrip('ab') }}|{{ 'abcba'.rstrip('ab') }}|{{ u | trim }}|{{ '--a-' | trim('-') }}
{{ 'abc'.replace('b', 'XX') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'ab'.replace('', '-') }} {{ 'aXbX' | replace('X', '', 1) }}
{{ 'abcabc'.find('c') }} {{ 'abc'.find('z') }} {{ 'abcabc'.rfind('b') }} {{ 'abcabc'.find('a', 1) }} {{ '日本日'.find('日', 1) }} {{ 'abcabc'.count('bc') }} {{ 'aaa'.count('aa') }} {{ 'abc'.count('') }} {{ 'abc'.index('c') }}
{{ 'abc'.index('z') }}
{{ 'abc'.startswith('b', 1) }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('') }} {{ 'a'.endswith('abc') }}
{{ 'abc'.startswith(1) }}
{{ 'they\'re BILL\'s uk-usa' | title }} {{ 'they\'re BILL\'s uk-usa'.title() }} {{ 'straße ǆ ΑΣ' | upper }} {{ 'ΑΣ ΑΣΑ İ' | lower }} {{ 'hELLO wORLD' | capitalize }} {{ 'aB'.swapcase() }} {{ 'ß'.upper() }}
{{ 'ab'.center(7, '*') }}|{{ 'ab' | center(7) }}|{{ 'ab'.ljust(4) }}|{{ 'ab'.rjust(4, '.') }}|{{ '-7'.zfill(5) }}|{{ 'a\tb'.expandtabs(4) }}|{{ 'abc'.center(6) }}|{{ 'ab'.center(5) }}
{{ 'abc'.isalpha() }} {{ 'ab1'.isalnum() }} {{ '12'.isdigit() }} {{ '²'.isdigit() }} {{ '½'.isnumeric() }} {{ '½'.isdecimal() }} {{ ' \t'.isspace() }} {{ ''.isspace() }} {{ 'Ab C'.istitle() }} {{ 'AB'.isupper() }} {{ 'ab1'.islower() }} {{ 'a b'.isidentifier() }} {{ 'é'.isascii() }} {{ 'a\n'.isprintable() }}
{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'x'.removesuffix('') }} {{ ', '.join(['a', 'b']) }} {{ '-'.join('abc') }}
{{ '%s is %d years, %.2f%% %5s|%-5s|%05d %x %X %o %e %g %c %r' % ('Al', 3.9, 12.345, 'a', 'b', 42, 255, 255, 8, 12345.678, 0.0001, 'z', 'q') }}
{{ '%(a)s-%(b)03d' % {'a': 'x', 'b': 7} }} {{ '%s' % 5 }} {{ '%s' % [1, 2] }} {{ '%+d % d %#x %.3s %*d' % (5, 5, 255, 'abcdef', 4, 7) }} {{ '%s-%s' | format('a', 'b') }} {{ '%(k)s' | format(k='v') }}
{{ '%d' % 'a' }}
{{ '%s %s' % 'a' }}
{{ '%s' % ('a', 'b') }}
{{ '{} {} {}'.format(1, 'a', none) }} {{ '{1} {0} {k}'.format('a', 'b', k='c') }} {{ '{{}} {:>5}|{:<5}|{:^5}|{:05d}|{:,}|{:.2f}|{:x}|{!r}'.format('a', 'b', 'c', 42, 1234567, 3.14159, 255, 'q') }} {{ '{0[a]} {1.real}'.format({'a': 1}, {'real': 2}) if false else '{0[a]}'.format({'a': 1}) }} {{ '{:+d} {:e} {:g} {:%} {:*^7}'.format(5, 12345.678, 0.5, 0.25, 'mid') }} {{ '{:10}|{:10}|'.format('s', 5) }}
{{ 1.5 | round }} {{ 2.5 | round }} {{ 2.675 | round(2) }} {{ 1234.5 | round(-2) }} {{ 7 | round }} {{ 7.1 | round(0, 'ceil') }} {{ 7.19 | round(1, 'floor') }} {{ -2.5 | round }} {{ 15 | round(-1) }}
{{ '42' | int }} {{ '42.9' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ '0x1f' | int(0, 16) }} {{ '1_000' | int }} {{ ' 12 ' | int }} {{ 3.99 | int }} {{ none | int }} {{ true | int }} {{ '1e3' | int }} {{ '1.5' | float }} {{ 'x' | float }} {{ 'x' | float(2.5) }} {{ 3 | float }} {{ 'inf' | float }} {{ 'nan' | float }}
{{ -3 | abs }} {{ (-3.5) | abs }} {{ [1, 2, 3] | sum }} {{ rows | sum(attribute='v') }} {{ [1.5, 2] | sum }} {{ [3, 1, 2] | max }} {{ ['b', 'A', 'c'] | min }} {{ rows | max(attribute='v') }} {{ [] | max }}
{{ rows | map(attribute='k') | list }} {{ rows | map(attribute='zz', default='-') | list }} {{ ['a', 'b'] | map('upper') | join }} {{ ['a1', 'b1'] | map('replace', '1', '2') | list }} {{ rows | map(attribute='k') | map('lower') | unique | list }}
{{ rows | selectattr('v', 'gt', 1) | map(attribute='k') | list }} {{ rows | rejectattr('k', 'equalto', 'a') | list | length }} {{ [0, 1, none, 'a', ''] | select | list }} {{ [0, 1, none] | reject | list }} {{ [1, 2, 3, 4] | select('even') | list }} {{ [1, 2, 3] | reject('in', [1]) | list }} {{ ['a', 1] | select('string') | list }}
{{ rows | sort(attribute='k') | map(attribute='v') | list }} {{ rows | sort(attribute='k', case_sensitive=true) | map(attribute='v') | list }} {{ rows | sort(reverse=true, attribute='v') | map(attribute='v') | list }} {{ ['b', 'A', 'c'] | sort }} {{ [3, 1, 2] | sort(true) }} {{ rows | sort(attribute='k,v') | map(attribute='v') | list }}
{{ [1, 'a'] | sort }}
{{ rows | groupby('k') | map('first') | list }} {% for g, items in rows | groupby('k') %}{{ g }}:{{ items | length }} {% endfor %}{% for g in rows | groupby('k') %}{{ g.grouper }}{{ g.list | length }}{% endfor %}
{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 'x') | list }} {{ [1, 2, 3, 4, 5] | slice(3) | list }} {{ [1, 2, 3, 4] | slice(3, '-') | list }}
{{ {'b': 1, 'A': 2} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(true) }} {{ {'b': 1, 'A': 2} | dictsort(by='value', reverse=true) }}
{{ 'abc' | first }}{{ 'abc' | last }} {{ [] | first }}| {{ 'abc' | reverse }} {{ l | reverse | list }} {{ l | last }} {{ 'a b' | wordcount }} {{ "it's x_y 日本" | wordcount }} {{ '日本' | length }}
{{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'foo bar baz qux' | truncate(11) }} {{ 'foo bar baz qux' | truncate(11, false, '...', 0) }}
{{ 'a\n\nb' | indent }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('> ', first=true) }}|{{ '' | indent(2, true) }}
{{ none | indent }}
{{ '<a href="x">\'&' | e }} {{ '<b> x  </b> y' | striptags }} {{ 'a b/ü?' | urlencode }} {{ {'a': 'b c', 'd': 1} | urlencode }} {{ {'a': 1, 'b': none, 'c': '<'} | xmlattr }}
{{ 100 | filesizeformat }} {{ 1 | filesizeformat }} {{ 1000 | filesizeformat }} {{ 123456789 | filesizeformat }} {{ 1024 | filesizeformat(true) }} {{ 1e30 | filesizeformat }}
{{ 'one two three four' | wordwrap(9) }}|{{ 'abcdefghij k' | wordwrap(4) }}|{{ 'well-known fact' | wordwrap(7) }}|{{ 'abcdefghij k' | wordwrap(4, false) }}
{{ d | attr('b') }}|{{ d | attr('get') is callable }}
{{ dict(a=1, b=2) }} {{ dict({'a': 1}, b=2) }} {{ dict([('x', 1)]) }} {{ {'a': 1}.copy() }} {{ d.get('zz') }} {{ d.keys() }} {{ d.values() | list }} {{ d.items() | list }} {{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }} {{ (1, 2).count(2) }}
{{ [1].append(2) }}
{{ d.update({'x': 1}) }}
{{ [1].append }}|{{ d.pop is defined }}|{{ d.clear is undefined }}
{{ d.items is defined }} {{ d.items is callable }} {{ {'items': 5}.items is callable }} {{ {'items': 5}['items'] }} {{ d['keys'] is callable }}
{{ ''.__class__ }}|{{ ''.__class__.__mro__ }}
{{ cycler('a', 'b').next() }} {% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
{{ q is defined }} {{ q is undefined }} {{ none is none }} {{ 1 is number }} {{ true is number }} {{ true is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ 'a' is string }} {{ () is sequence }} {{ {} is sequence }} {{ range(2) is iterable }} {{ 5 is iterable }} {{ q is iterable }} {{ d.items() is sequence }} {{ 'A' is upper }} {{ 'a' is lower }} {{ 4 is divisibleby 2 }} {{ 4 is divisibleby(3) }} {{ 3 is odd }} {{ 3 is even }} {{ 1 is sameas 1 }} {{ 1 is sameas true }} {{ 'a' is in 'abc' }} {{ 1 is in [2] }} {{ 2 is gt 1 }} {{ 2 is ne 2 }} {{ 'upper' is filter }} {{ 'odd' is test }} {{ range is callable }} {{ false is boolean }} {{ 0 is false }}
{{ 1 if true }}{{ 1 if false }}|{{ 'a' if false else 'b' if true else 'c' }} {{ (1 if false) is defined }}
{{ (1 if false).x }}
{{ 1, 2 }} {{ (1) }} {{ (1,) }} {{ () }} {{ [1, 2,] }} {{ {'a': 1,} }} {{ 'a' 'b' }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1.5e3 }}
{{ x is defined and x > 1 or false }} {{ x and y }} {{ 0 or 'dflt' }} {{ '' and 1 }}| {{ not x is string }} {{ not x in l }}
{{ '\u00e9\x41\101\N' }} {{ 'a\
b' }}
{%- if true -%}  a  {%- endif -%}  b
a  {%- if true %}  b  {% endif -%}  c
  {%+ if true %}x{% endif +%}
  {# c #}  y
a
  {% if true %}
  b
  {% endif %}
c
{% raw %}  {{ x }} {% if %} {% endraw %}|  {%- raw -%}  y  {%- endraw -%}  |
{{ x }
{% if x %}
{% endfor %}
{{ [1 }}
{{ 1 + }}
{{ 'abc }}
{% set 5 = 1 %}
{% set none = 1 %}
{% for loop in l %}{% endfor %}
{% nosuch %}
{% break %}
{% macro f() %}{% break %}{% endmacro %}
{% for i in l %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}
{{ f(**{'a': 1}) }}
{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 3, 'b': 4}) }}{{ f(*[5], b=6) }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %A %a %B %b %j %p %I %y %e %-d %% %U %W %w') }}
{{ raise_exception('no ' ~ x) }}
{% set a = [1, [2, 3]] %}{% set b, (c, e) = 1, (2, 3) %}{{ b }}{{ c }}{{ e }}
{{ l is not none and l | length > 2 }} {{ l | length + 1 }} {{ -l | first if false else 'z' }} {{ 2 + 3 ~ 'a' }} {{ 'a' ~ 2 * 3 }} {{ 10 - 2 - 3 }} {{ 2 * 3 % 4 }}
{{ l | join(', ') }} {{ rows | join('-', attribute='k') }} {{ [1, none, true] | join('|') }} {{ 'abc' | join('.') }}
{{ l | map('nosuch') | list }}
{{ l | select('nosuch') | list }}
{{ 5 | length }}
{{ 'a' * 3 }} {{ 3 * 'a' }} {{ [0] * 3 }} {{ (1,) * 2 }} {{ 'a' * -1 }}|
{{ 'a' - 1 }}
{{ [1] + (2,) }}
{{ 5() }}
{{ 'abc'() }}
{{ d.b() }}
{{ d.nope() }}
{{ {'a': 1, 'a': 2} }} {{ {1: 'a', 1.0: 'b', true: 'c'} }}
{{ 'x' if q else 'y' }} {{ q or 'z' }} {{ q | default('w') }} {{ d.q | default('v') }} {{ d.q.r | default('v') }}
{{ false | default('x', true) }} {{ 0 | d(5, boolean=true) }} {{ none | default }}|
{% if q %}a{% elif n %}b{% else %}c{% endif %}{% if l %}d{% endif %}{% if not d %}e{% endif %}
{{ 1.0 | string }} {{ 1e3 | int | string ~ 'x' }} {{ none | string }} {{ [1] | string | length }} {{ 12345678901234567890 }} {{ -12345678901234567890 }} {{ 12345678901234567890 == 12345678901234567890 }}
'''
cases=[];cur=None
for line in S.strip('\n').split('\n'):
    cases.append(line)
# join multi-line ones
multi=[("a\n  {% if true %}\n  b\n  {% endif %}\nc"),("x\n  {# c #}\ny"),("{% for i in [1,2] %}\n  {{ i }}\n{% endfor %}\nz\n"),("a\r\n{% if true %}\r\nb{% endif %}\r\nc\r\n"),("  {{ 1 }}\n  {%- if true %} q {%- endif %}\n\n w"),("a {# multi\nline -#}  \n b"),("{{ 'a\\\nb' }}")]
skip={"{{ '\\u00e9\\x41\\101\\N' }} {{ 'a\\","b' }}","a","  {% if true %}","  b","  {% endif %}","c"}
out=[]
for c in [c for c in cases if c not in skip]+multi:
    try: r=("t",env.from_string(c).render(**ctx))
    except Exception as e: r=("e",type(e).__name__, str(e))
    out.append((c,r))
fx={"jinja2":jinja2.__version__,"context":ctx,"cases":[{"template":c,**({"text":r[1]} if r[0]=="t" else {"raises":r[1],"message":r[2]})} for c,r in out]}
for c,r in out:
    if r[0]=='e': print(r[1],r[2][:80],'<-',c[:70])
print(len(out))
open('semantics.json','w').write(json.dumps(fx,ensure_ascii=True,indent=1))
