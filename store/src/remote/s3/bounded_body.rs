//! Bounds the memory of the SDK for an answer.
//!
//! The SDK collects every answer except objects before it parses it, whatever its length. A server,
//! or a proxy on the way, could exhaust the memory with one listing or one error page.

use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;

use crate::remote::body::{LONGEST_ANSWER, LONGEST_REFUSAL};

/// The SDK's mark of requests for objects, whose bodies [`Body`](crate::remote::body::Body) bounds
/// while they stream.
const OBJECT: &str = "x-id=GetObject";

/// An HTTP client, or a connector of one, whose answers fail at a limit.
#[derive(Debug)]
struct BoundedHttp<T>(T);

/// Bounds the answers of a client.
pub(super) fn bound_answers(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(BoundedHttp(client))
}

impl HttpClient for BoundedHttp<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(BoundedHttp(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

impl HttpConnector for BoundedHttp<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_object = request.method() == "GET" && request.uri().contains(OBJECT);
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let limit = match answer.status().is_success() {
                true if is_object => return Ok(answer),
                true => LONGEST_ANSWER,
                false => LONGEST_REFUSAL,
            };
            let body = answer.take_body();
            *answer.body_mut() = SdkBody::from_body_1_x(Limited::new(body, limit));
            Ok(answer)
        })
    }
}
