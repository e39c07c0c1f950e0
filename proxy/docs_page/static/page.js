// Shows the API's description (OpenAPI 3.1) in Swagger UI. The description depends on who
// asks and for which schema, so it is read again when a token or a schema is chosen.
"use strict";

const DESCRIPTION = "application/vnd.oai.openapi+json;version=3.1";
const SCHEME = "JWT";
const root = new URL(document.getElementById("docs").dataset.root, location.href).href;
const choice = document.getElementById("schema");
let token = null;

const readAgain = (system) => system.specActions.download(root);

const withToken = () => ({
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (original, system) => (payload) => {
          const result = original(payload);
          token = payload[SCHEME]?.value ?? null;
          readAgain(system);
          return result;
        },
        logout: (original, system) => (payload) => {
          const result = original(payload);
          token = null;
          readAgain(system);
          return result;
        },
      },
    },
  },
});

const ui = SwaggerUIBundle({
  domNode: document.getElementById("docs"),
  url: root,
  plugins: [withToken],
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    if (request.loadSpec) {
      request.headers.Accept = DESCRIPTION;
      request.headers["Accept-Profile"] = choice.value;
      if (token !== null) {
        request.headers.Authorization = `Bearer ${token}`;
      }
    }
    return request;
  },
});

choice.addEventListener("change", () => readAgain(ui.getSystem()));
