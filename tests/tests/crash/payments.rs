//! A payment is recorded by both sides, or by both sides after it is said again.

use crate::market::{
    Market,
    Side::{Client, Contractor},
    named,
};
use std::time::Duration;
use tender_node::api::types::{Paid, PayInput};

#[tokio::test]
async fn either_side_is_killed_while_a_payment_is_recorded() {
    let mut market = Market::open(1).await;
    for victim in [Client, Contractor(0)] {
        let submission = market.submit();
        let id = market.id_of(submission).await.unwrap();
        market.completed(&id).await;
        market.settle().await;

        let did = market.node(Contractor(0)).did.to_string();
        let input = PayInput { did, method: "cash".to_owned(), book: None };
        let (api, said) = (market.node(Client).api.clone(), input.clone());
        let skip = market.node(Contractor(0)).events().count();
        let paying = tokio::spawn(async move { api.ask::<_, Paid>("record_payment", &said).await });
        market.node(Contractor(0)).events().after(skip, named("payment_recorded")).await;
        market.kill(victim);
        let heard = paying.await.unwrap();
        market.revive(victim).await;
        println!("{victim:?} killed: the payer heard {heard:?}");
        if market.node(Client).earnings().await.owed_by_us_micro_usd != 0 {
            // A connection that died with the peer is noticed by its first use.
            let mut again = market.node(Client).api.ask::<_, Paid>("record_payment", &input).await;
            for _ in 0..10 {
                if again.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                again = market.node(Client).api.ask("record_payment", &input).await;
            }
            again.unwrap();
        }
        market.settle().await;
        let (paid, received) = (market.node(Client).earnings().await, market.node(Contractor(0)).earnings().await);
        assert_eq!((paid.owed_by_us_micro_usd, received.owed_to_us_micro_usd), (0, 0));
        assert_eq!(paid.paid_by_us_micro_usd, received.paid_to_us_micro_usd);
    }
    market.close().await;
}
