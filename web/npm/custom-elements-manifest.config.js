// How custom-elements.json comes from the sources: the description of <unigen-editor> is its documentation comments, its events are those of
// `EditorEventMap`.

/** The text of a node's documentation comment, on one line. */
const documentation = (node) => (node.jsDoc?.at(-1)?.comment ?? '').replace(/\s+/g, ' ').trim();

let told = [];

const events = {
  name: 'events',
  analyzePhase({ ts, node }) {
    if (!ts.isInterfaceDeclaration(node) || node.name.text !== 'EditorEventMap') return;
    told = node.members.map((member) => ({
      name: member.name.getText(),
      type: { text: member.type.getText().replace(/\s+/g, ' ') },
      description: documentation(member),
    }));
  },
};

/** Only the element, as a user of the package sees it: what its attributes are is told once, and methods take one object of options. */
const published = {
  name: 'published',
  packageLinkPhase({ customElementsManifest }) {
    const all = customElementsManifest.modules.flatMap((module) => module.declarations ?? []);
    const declaration = all.find(({ tagName }) => tagName);
    const own = ({ inheritedFrom, ...rest }) => rest;
    declaration.attributes = declaration.attributes.map(own);
    declaration.members = declaration.members
      .filter(({ name, privacy, attribute, static: isStatic }) => privacy !== 'private' && !attribute && !isStatic && name !== 'addEventListener')
      .map(({ parameters, ...member }) => ({
        ...member,
        ...(parameters && { parameters: parameters.map(({ type }) => ({ name: 'options', optional: true, type: { text: type.text.replace(/\s+/g, ' ') } })) }),
      }));
    declaration.events = told;
    const { name, tagName } = declaration;
    customElementsManifest.readme = 'README.md';
    customElementsManifest.modules = [
      {
        kind: 'javascript-module',
        path: 'dist/element.js',
        exports: [
          { kind: 'js', name, declaration: { name } },
          { kind: 'custom-element-definition', name: tagName, declaration: { name } },
        ],
        declarations: [declaration],
      },
    ];
  },
};

export default { globs: ['src/element.ts', 'src/element/*.ts'], plugins: [events, published] };
