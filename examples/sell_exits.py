"""Check, sign and submit each exit; ends once a sale has closed its position."""

from __future__ import annotations

from lasersell import StrategyConfig, StreamClient, StreamConfigure, StreamSession
from lasersell.exits import SendTarget, Signer, Submitter, WalletKey
from lasersell.protocol import ExitSignalWithTx, PositionClosed

key = WalletKey.from_env()  # LASERSELL_PRIVATE_KEY
signer = Signer([key])
configure = StreamConfigure([key.pubkey], StrategyConfig(target_profit_pct=5.0))
with (
    Submitter([SendTarget.rpc()]) as submitter,  # LASERSELL_RPC_URL
    StreamSession.connect(StreamClient(), configure) as session,
):
    for event in session:
        message = event.message
        if isinstance(message, ExitSignalWithTx):
            signed = signer.sign_exit(message, event.handle)
            landed = submitter.submit_and_confirm(signed)
            print(f"sold in slot {landed.slot} by {landed.signature}")
        if isinstance(message, PositionClosed):
            print(f"closed by {message.reason} in slot {message.slot}")
            break
