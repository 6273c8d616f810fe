"""The grammar of JUnit files as CI systems read it, to validate ours with.

Written for these tests after the common description of the format (github.com/testmoapp/junitxml) and what pytest's
`xunit2` family documents. Stricter than Jenkins' `junit` step, which ignores what it does not know, and as strict as
the schema of Jenkins' xUnit plugin (`junit-10.xsd`) but for one thing: that one knows no properties of a test case,
which pytest's `record_property` writes as well.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import xmlschema

SCHEMA = """
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:simpleType name="seconds">
    <xs:restriction base="xs:string"><xs:pattern value="[0-9]+(\\.[0-9]+)?"/></xs:restriction>
  </xs:simpleType>
  <xs:complexType name="outcome" mixed="true">
    <xs:attribute name="message" type="xs:string"/>
    <xs:attribute name="type" type="xs:string"/>
  </xs:complexType>
  <xs:complexType name="properties">
    <xs:sequence>
      <xs:element name="property" maxOccurs="unbounded">
        <xs:complexType>
          <xs:attribute name="name" type="xs:string" use="required"/>
          <xs:attribute name="value" type="xs:string" use="required"/>
        </xs:complexType>
      </xs:element>
    </xs:sequence>
  </xs:complexType>
  <xs:complexType name="testcase">
    <xs:sequence>
      <xs:element name="properties" type="properties" minOccurs="0"/>
      <xs:choice minOccurs="0">
        <xs:element name="skipped" type="outcome"/>
        <xs:element name="error" type="outcome"/>
        <xs:element name="failure" type="outcome"/>
      </xs:choice>
      <xs:element name="system-out" type="xs:string" minOccurs="0"/>
      <xs:element name="system-err" type="xs:string" minOccurs="0"/>
    </xs:sequence>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="classname" type="xs:string" use="required"/>
    <xs:attribute name="time" type="seconds" use="required"/>
  </xs:complexType>
  <xs:complexType name="testsuite">
    <xs:sequence>
      <xs:element name="properties" type="properties" minOccurs="0"/>
      <xs:element name="testcase" type="testcase" minOccurs="0" maxOccurs="unbounded"/>
    </xs:sequence>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="tests" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="failures" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="errors" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="skipped" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="time" type="seconds" use="required"/>
    <xs:attribute name="timestamp" type="xs:dateTime" use="required"/>
    <xs:attribute name="hostname" type="xs:string" use="required"/>
  </xs:complexType>
  <xs:element name="testsuites">
    <xs:complexType>
      <xs:sequence><xs:element name="testsuite" type="testsuite" maxOccurs="unbounded"/></xs:sequence>
      <xs:attribute name="name" type="xs:string"/>
    </xs:complexType>
  </xs:element>
</xs:schema>
"""


def validated(path: Path, *, strict: bool = False) -> ElementTree.Element:
    """The suite of a JUnit file that the grammar allows, and whose counts are those of its test cases.

    `strict`: a test case has no properties.
    """
    of_case = '  <xs:complexType name="testcase">\n    <xs:sequence>\n'
    rule = '      <xs:element name="properties" type="properties" minOccurs="0"/>\n'
    assert of_case + rule in SCHEMA
    xmlschema.XMLSchema(SCHEMA.replace(of_case + rule, of_case) if strict else SCHEMA).validate(str(path))
    suite = ElementTree.parse(path).getroot()[0]
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert suite.get(count) == str(len([case for case in cases if case.find(tag) is not None]))
    return suite


def properties(case: ElementTree.Element) -> dict[str, str]:
    """The properties of a test case."""
    return {entry.get("name", ""): entry.get("value", "") for entry in case.findall("properties/property")}
