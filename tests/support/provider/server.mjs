// A real OpenID provider for the tests: node-oidc-provider, with its own log-in and consent pages, PKCE enforced.
//
// REDIRECT_URIS (JSON): where clients may be sent back. ID_TOKEN_CLAIMS=1: claims stand in the ID token; else userinfo tells them.
// Who logs in as `SUBJECT~EMAIL~GROUP,GROUP~unverified` is that person; any password is good.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

function key(kid, type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
}

const keys = [
  key('rsa', 'rsa', { modulusLength: 2048 }, 'RS256'),
  key('pss', 'rsa', { modulusLength: 2048 }, 'PS256'),
  key('ec', 'ec', { namedCurve: 'P-256' }, 'ES256'),
  key('ed', 'ed25519', {}, 'EdDSA'),
];
const common = {
  client_secret: 'a secret of the tests: /+=%&',
  redirect_uris: JSON.parse(process.env.REDIRECT_URIS),
  grant_types: ['authorization_code'],
  response_types: ['code'],
};
const clients = [
  ...['RS256', 'PS256', 'ES256', 'EdDSA'].map((alg) => (
    { ...common, client_id: `penstock-${alg}`, id_token_signed_response_alg: alg })),
  { ...common, client_id: 'public', client_secret: undefined, token_endpoint_auth_method: 'none' },
];

function claims(id) {
  const [, email, groups, unverified] = id.split('~');
  return {
    sub: id, email, email_verified: unverified !== 'unverified', name: 'From Elsewhere', groups: groups ? groups.split(',') : [],
  };
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
    conformIdTokenClaims: process.env.ID_TOKEN_CLAIMS !== '1',
    cookies: { keys: ['of the tests'] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    features: { devInteractions: { enabled: true } },
    findAccount: (_, id) => ({ accountId: id, claims: () => claims(id) }),
    pkce: { required: () => true },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  });
  server.on('request', provider.callback());
  console.log(`ready ${issuer}`);
});
